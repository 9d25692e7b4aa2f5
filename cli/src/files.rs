//! Errors of files: they name the file and say what to do, which the system's own words do not.

use std::io;
use std::path::Path;

use shunt_engine::Error;

/// For `map_err`: an error of a file or folder, by what was done with it.
pub(crate) fn failed<'a>(doing: &'a str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |error| {
        let message = format!("{doing} {}", path.display());
        Error::stop(message).advice(advice(error.kind())).source(error)
    }
}

fn advice(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "Make room on its disk, then try again."
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "Let this user read and write there, or name another place."
        }
        io::ErrorKind::NotFound => "Something else has removed it; try again.",
        _ => "Look what is at this path and whether its disk is sound, then try again.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file_and_says_what_to_do() {
        let text = |kind: io::ErrorKind| {
            failed("write", Path::new("/x/sandbox.json"))(kind.into()).to_string()
        };
        let denied = text(io::ErrorKind::PermissionDenied);
        assert!(denied.starts_with("write /x/sandbox.json: permission denied"), "{denied}");
        assert!(
            denied.ends_with("Let this user read and write there, or name another place."),
            "{denied}"
        );
        assert!(
            text(io::ErrorKind::StorageFull).ends_with("Make room on its disk, then try again.")
        );
    }
}
