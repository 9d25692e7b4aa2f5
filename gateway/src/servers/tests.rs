use super::*;

/// What is seen of a server, by a letter: `w` can be written and follows nobody, `c` can be written and follows, `r` is a replica,
/// `d` is dead, `?` was not looked at.
fn seen(letter: char) -> Health {
    let (seen, alive, read_only, follows) = match letter {
        'w' => (true, true, false, false),
        'c' => (true, true, false, true),
        'r' => (true, true, true, true),
        'd' => (true, false, false, false),
        _ => (false, false, false, false),
    };
    Health { seen, alive, read_only, follows, ..Health::default() }
}

/// Who is primary after each look at the three servers of a keyspace, of which the first is configured as its primary.
fn primaries(looks: &str) -> String {
    let types = [ServerType::Primary, ServerType::Replica, ServerType::Replica];
    let member = |(at, server_type): (usize, &ServerType)| Member {
        server: ServerId(at),
        server_type: *server_type,
        alias: String::new(),
    };
    let members: Vec<Member> = types.iter().enumerate().map(member).collect();
    let mut primary = configured(&members).unwrap();
    let mut out = String::new();
    for look in looks.split(' ') {
        let health: Vec<Health> = look.chars().map(seen).collect();
        primary = primary_after(&members, &health, primary);
        out += &primary.0.to_string();
    }
    out
}

#[test]
fn the_primary_changes_only_when_it_cannot_be_written_and_it_is_clear_who_can() {
    for (looks, expected) in [
        // Before anything was seen, and as configured.
        ("??? ?rr wrr crr", "0000"),
        // A server that is writable beside the primary is none.
        ("wwr ?wr", "00"),
        // A promotion is followed; nobody's is not.
        ("wrr drr dwr", "001"),
        ("wrr rrr rwr", "001"),
        ("drr dww dcr", "000"),
        // The old primary is back, and can be written: it has missed what was written since.
        ("dwr wwr wwr wwr", "1111"),
        ("dwr wwr wwr rwr", "1111"),
        // It leads again once the other one is seen not to; who is only not seen may be there.
        ("dwr wwr wrr", "110"),
        ("dwr rwr wcr", "110"),
        ("dwr wwr wdr wwr", "1111"),
        ("dwr ddd wdd wwd", "1111"),
        ("dwr cwr cdr cwr", "1111"),
        // Another one was promoted in its place.
        ("dwr ddw wdw", "122"),
        // Nobody can be written, or it is not clear who: it stays.
        ("dwr ddr ddd wwd", "1111"),
        ("dwr rrr rwr", "111"),
        ("dwr rrr rww", "111"),
    ] {
        assert_eq!(primaries(looks), expected, "{looks}");
    }
}

#[test]
fn what_is_seen_moves_the_writes_and_the_reads() {
    let server = |server_type, port| crate::config::Server {
        server_type,
        config: ServerConfig {
            alias: format!("s{port}"),
            address: shunt_engine::mysql::server::Address::Tcp { host: "h".to_owned(), port },
            user: "u".to_owned(),
            password: shunt_engine::mysql::server::Secret::default(),
            tls: shunt_engine::mysql::server::TlsMode::Disabled,
            tls_ca: None,
        },
    };
    let keyspace = Keyspace {
        name: "commerce".to_owned(),
        database: "commerce".to_owned(),
        servers: vec![server(ServerType::Primary, 1), server(ServerType::Replica, 2)],
    };
    let servers = Servers::new(vec![keyspace], Duration::from_secs(5));
    let lag = Some(Duration::ZERO);
    let note = |at, letter| servers.note(ServerId(at), Health { lag, ..seen(letter) });
    let serving = |server_type| servers.serving(0, server_type);
    note(1, 'r');
    assert_eq!(serving(ServerType::Primary), [ServerId(0)]);
    assert_eq!(serving(ServerType::Replica), [ServerId(1)]);
    note(0, 'd');
    note(1, 'w');
    note(0, 'w');
    assert_eq!(serving(ServerType::Primary), [ServerId(1)]);
    assert_eq!(serving(ServerType::Replica), []);
}
