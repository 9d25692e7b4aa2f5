//! The long versions of tests, by `SHUNT_SOAK=1`.

/// Whether the long version is wanted.
pub(crate) fn soak() -> bool {
    std::env::var_os("SHUNT_SOAK").is_some_and(|value| value == "1")
}

/// One number for every day, another for the long version.
pub(crate) fn scaled<T>(short: T, long: T) -> T {
    if soak() { long } else { short }
}
