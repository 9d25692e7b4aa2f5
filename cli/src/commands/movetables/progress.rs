//! `shunt movetables progress`: a line for each stream, and what is copied while it copies.

use shunt_engine::workflow::status::{self, StreamStatus, TableStatus};

use super::show::{lag_s, now};
use super::site::Site;
use crate::args::workflow::Named;
use crate::config::Config;
use crate::exit::Exit;
use crate::output;

pub(in crate::commands) async fn run(args: &Named, config: &Config) -> anyhow::Result<Exit> {
    let site = Site::new(config, &args.workflow)?;
    let name = site.name.to_string();
    let mut control = site.control().await?;
    let status = status::read(&mut control, &name).await?;
    let now_s = now(&mut control).await?;
    control.close().await;
    output::print(&text(&name, &site.target.alias, &status.streams, now_s))?;
    Ok(Exit::Done)
}

fn text(name: &str, tablet: &str, streams: &[StreamStatus], now_s: i64) -> String {
    let mut text = String::new();
    let copying: Vec<&TableStatus> =
        streams.iter().flat_map(|stream| &stream.tables).filter(|table| !table.done).collect();
    if !copying.is_empty() {
        text += "\nCopy Progress (approx):\n\n";
        for table in copying {
            text += &copied(table);
        }
    }
    text += &format!("\nThe following vreplication streams exist for workflow {name}:\n\n");
    for stream in streams {
        text += &line(tablet, stream, now_s);
    }
    text
}

fn copied(table: &TableStatus) -> String {
    let rows = table.row.rows_estimate.max(table.copied.rows);
    let bytes = table.row.bytes_estimate.max(table.copied.bytes);
    format!(
        "{}: rows copied {}/{rows} ({}%), size copied {}/{bytes}\n",
        table.row.name,
        table.copied.rows,
        table.percent(),
        table.copied.bytes
    )
}

fn line(tablet: &str, stream: &StreamStatus, now_s: i64) -> String {
    let mut line = format!(
        "id={} on 0/{tablet}: Status: {}. VStream Lag: {}s.",
        stream.row.id,
        stream.row.state,
        lag_s(stream, now_s)
    );
    if let (true, Some(reason)) = (stream.owned, &stream.progress.throttled) {
        line += &format!(" Throttled: {reason}.");
    }
    if !stream.row.message.is_empty() {
        line += &format!(" Message: {}", stream.row.message);
    }
    line + "\n"
}

#[cfg(test)]
mod tests {
    use shunt_engine::workflow::state::StreamState;

    use super::super::show::tests::status;
    use super::*;

    #[test]
    fn a_running_stream_reads_as_in_the_guide() {
        let status = status(StreamState::Running, None);
        let expected = "\nThe following vreplication streams exist for workflow customer.commerce2customer:\n\n\
                        id=1 on 0/zone1-0000000200: Status: Running. VStream Lag: 0s.\n";
        let shown =
            text("customer.commerce2customer", "zone1-0000000200", &status.streams, 1_672_857_700);
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_copying_stream_shows_its_rows() {
        let status = status(StreamState::Copying, Some("3137"));
        let shown = text("customer.c2c", "zone1-0000000200", &status.streams, 1_672_857_700);
        assert!(shown.starts_with(
            "\nCopy Progress (approx):\n\ncorder: rows copied 3/10 (30%), size copied 30/100\n"
        ));
    }
}
