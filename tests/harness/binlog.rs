//! Who wrote while a side was closed, by the server's own binlog as `mariadb-binlog` prints it; shunt's code is not asked.
//!
//! The fence's row is a row like any other: its changes are in the same binlog, in commit order. A client's transaction holds that row
//! shared until it has committed, so it stands before the raise, or behind the opening, and never between. What the stream writes is told
//! by the sidecar's tables in the same transaction.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use shunt_cli::sandbox::SandboxServer;

/// What a server's binlog has of some tables.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// Transactions of clients, all while the side was open.
    pub(crate) by_clients: usize,
    /// Transactions of the stream, all while it was closed.
    pub(crate) by_stream: usize,
    /// How often the side was closed.
    pub(crate) closings: usize,
}

/// One side of a move.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Closable<'a> {
    pub(crate) server: &'a SandboxServer,
    pub(crate) database: &'a str,
    pub(crate) tables: &'a [&'a str],
    /// The key of its fence's row: the workflow that writes into it.
    pub(crate) fence: &'a str,
    /// Whether it is closed before the fence has a row.
    pub(crate) closed: bool,
}

impl Closable<'_> {
    /// Reads the whole binlog; panics if a client wrote on the closed side, or the stream on the open one.
    pub(crate) fn written(&self) -> Written {
        let config = self.server.config();
        let mut child = Command::new("mariadb-binlog")
            .args(["--no-defaults", "--read-from-remote-server", "--protocol=TCP"])
            .args(["--host=127.0.0.1", &format!("--port={}", self.server.port())])
            .args([&format!("--user={}", config.user), "--base64-output=decode-rows", "-v"])
            .args(["--to-last-log", "binlog.000001"])
            .env("MYSQL_PWD", config.password.expose())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reading = Reading::new(self);
        for line in BufReader::new(child.stdout.take().unwrap()).split(b'\n') {
            reading.line(&String::from_utf8_lossy(&line.unwrap()));
        }
        reading.ended();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let wrong = &reading.wrong;
        assert!(wrong.is_empty(), "{}: {} wrong, {wrong:.5?}", self.database, wrong.len());
        reading.written
    }
}

/// The transaction that is being read.
#[derive(Debug, Default)]
struct Transaction {
    gtid: String,
    /// It wrote the tables.
    touched: bool,
    /// It wrote the sidecar.
    ours: bool,
    /// It left the fence so.
    fence: Option<String>,
}

#[derive(Debug)]
struct Reading<'a> {
    side: &'a Closable<'a>,
    marks: Vec<String>,
    closed: bool,
    at: Transaction,
    /// Within the new image of a row of a fence; whether it is this side's.
    image: Option<bool>,
    on_fence: bool,
    written: Written,
    wrong: Vec<String>,
}

impl<'a> Reading<'a> {
    fn new(side: &'a Closable<'a>) -> Self {
        let mark = |table: &&str| format!("`{}`.`{table}`", side.database);
        Self {
            side,
            marks: side.tables.iter().map(mark).collect(),
            closed: side.closed,
            at: Transaction::default(),
            image: None,
            on_fence: false,
            written: Written::default(),
            wrong: Vec::new(),
        }
    }

    fn line(&mut self, line: &str) {
        if line.starts_with('#') && line.contains("\tGTID ") {
            self.ended();
            self.at.gtid = line.rsplit_once("\tGTID ").unwrap().1.to_owned();
        }
        let Some(row) = line.strip_prefix("### ") else { return };
        if ["INSERT INTO ", "UPDATE ", "DELETE FROM "].iter().any(|verb| row.starts_with(verb)) {
            let name = row.rsplit_once(' ').unwrap().1;
            self.at.touched |= self.marks.iter().any(|mark| mark == name);
            self.at.ours |= name.starts_with("`_shunt`.");
            (self.on_fence, self.image) = (name == "`_shunt`.`fence`", None);
        } else if row == "SET" && self.on_fence {
            self.image = Some(false);
        } else if let Some(value) = row.strip_prefix("  @1=") {
            let own = value == format!("'{}'", self.side.fence);
            self.image = self.image.map(|_| own);
        } else if let (Some(value), Some(true)) = (row.strip_prefix("  @3="), self.image) {
            self.at.fence = Some(value.trim_matches('\'').to_owned());
        }
    }

    fn ended(&mut self) {
        let Transaction { gtid, touched, ours, fence } = std::mem::take(&mut self.at);
        if touched && ours != self.closed {
            let (who, how) = (if ours { "the stream" } else { "a client" }, self.closed);
            self.wrong.push(format!("{gtid} by {who}, closed: {how}"));
        }
        self.written.by_stream += usize::from(touched && ours);
        self.written.by_clients += usize::from(touched && !ours);
        if let Some(state) = fence {
            assert!(["open", "raised", "closed"].contains(&state.as_str()), "{state}");
            let closed = state != "open";
            self.written.closings += usize::from(closed && !self.closed);
            self.closed = closed;
        }
        (self.on_fence, self.image) = (false, None);
    }
}
