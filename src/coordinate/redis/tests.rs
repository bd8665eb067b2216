use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::server::TIMEOUT;
use super::*;
use crate::near;

const ABOUT: &[u8] = b"$19\r\nuptime_in_seconds:5\r\n";
const LEASED: &[u8] = b"*2\r\n:0\r\n:0\r\n";

/// Somebody who listens, and gives each connection these answers, one for each question. Then it is closed; the last is
/// silent from then on.
struct Somebody {
    url: String,
    connections: Arc<AtomicUsize>,
    /// Whoever comes after them is let in by the system, and hears nothing.
    #[expect(dead_code, reason = "kept open")]
    listener: TcpListener,
}

fn somebody(answers: impl IntoIterator<Item = Vec<&'static [u8]>>) -> Somebody {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://:hunter2@{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let kept = listener.try_clone().unwrap();
    let (count, answers) = (Arc::clone(&connections), answers.into_iter().collect::<Vec<_>>());
    thread::spawn(move || {
        let mut last = None;
        for answers in answers {
            drop(last.take());
            let (mut connection, _) = listener.accept().unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            for answer in answers {
                answer_one(&mut connection, answer);
            }
            last = Some(connection);
        }
        let _ = last.map(|mut last| last.read_to_end(&mut Vec::new()));
    });
    Somebody { url, connections, listener: kept }
}

fn answer_one(connection: &mut TcpStream, answer: &[u8]) {
    if connection.read(&mut [0; 8192]).is_ok_and(|read| read > 0) {
        let _ = connection.write_all(answer);
    }
}

fn said_of(url: &str) -> String {
    let said = RedisLeases::connect(url).unwrap_err().to_string();
    assert!(said.contains("\nnext: "), "{said}");
    assert!(!said.contains("hunter2") && !said.contains("unter"), "{said}");
    said
}

#[test]
fn what_is_wrong_with_a_url_is_told_without_it() {
    for (url, why) in [
        ("", "it is none of a Redis server"),
        ("hunter2", "it is none of a Redis server"),
        ("http://:hunter2@host", "it is none of a Redis server"),
        ("redis://:hunter2:1@:2", "it is none of a Redis server"),
        ("redis://:hunter2@host/hunter2", "a wrong database"),
        ("redis://h:12/hunter2@host", "a wrong database"),
        ("redis://h:12?hunter2@host", "after ? or #"),
        ("redis://h:12#hunter2@host", "after ? or #"),
        ("redis://:hunter2@host?db=1", "after ? or #"),
        ("redis://:hunter2@host?protocol=hunter2", "a wrong database"),
        ("redis://:hunter2@0.0.0.0", "a wrong database"),
        ("unix:///tmp/s?pass=hunter2&db=x", "a wrong database"),
        ("rediss://:hunter2@host", "TLS is not supported\nnext: let a tunnel"),
    ] {
        let said = said_of(url);
        assert!(said.contains(why), "{url}: {said}");
    }
}

#[test]
fn a_url_says_where() {
    for (url, place) in [
        ("redis://u:hunter2@host", "host:6379, database 0"),
        ("valkey://:hunter2@[::1]:7/2", "[::1]:7, database 2"),
        (" redis://10.0.0.5:7?protocol=resp3\n", "10.0.0.5:7, database 0"),
        ("unix:///run/redis.sock?db=3&pass=hunter2", "/run/redis.sock, database 3"),
    ] {
        assert_eq!(url::place(&url::parse(url).unwrap()), place, "{url}");
    }
}

#[test]
fn what_others_answer_shows_no_password() {
    for (answer, why) in [
        (&b"+OK\r\n-ERR what is hunter2\r\n"[..], "ERR what is ***\nnext: see the server's log"),
        (b"+OK POP3 ready\r\n-ERR what is hunter2\r\n", "it does not answer as a Redis server does"),
        (b"*3\r\n$4\r\nAUTH\r\n$7\r\nhunter2\r\n:1\r\n", "it does not answer as a Redis server does"),
        (b"HTTP/1.1 400 hunter2\r\n\r\n", "it does not answer as a Redis server does"),
        (b"+hunter2\r\n+hunter2\r\n", "it does not answer as a Redis server does"),
        (b"-WRONGPASS hunter2\r\n", "it refuses the password"),
        (b"+OK\r\n*1\r\n$7\r\nhunter2\r\n", "it does not answer as a Redis server does"),
        (b"+OK\r\n$7\r\nhunter2\r\n", "it does not say how long it has been up"),
    ] {
        let said = said_of(&somebody([vec![answer]]).url);
        assert!(said.contains(why), "{}: {said}", String::from_utf8_lossy(answer));
    }
}

#[test]
fn a_broken_connection_is_made_anew() {
    let at_first: Vec<&[u8]> = vec![b"+OK\r\n", ABOUT];
    let then: Vec<&[u8]> = vec![b"+OK\r\n", LEASED];
    let somebody = somebody([at_first, then]);
    let leases = RedisLeases::connect(&somebody.url).unwrap();
    assert!(leases.lease(9, &LeaseOwner::current()).unwrap().is_some());
    assert_eq!(somebody.connections.load(Ordering::SeqCst), 2);
}

/// Not again and again.
#[test]
fn a_connection_that_breaks_each_time_is_an_error() {
    let somebody = somebody(vec![Vec::new(); 9]);
    assert!(said_of(&somebody.url).contains("next: start it"));
    assert_eq!(somebody.connections.load(Ordering::SeqCst), 1);
}

/// A test that ends would wait for each of its ports.
#[test]
fn who_gives_no_answer_is_not_asked_to_end_another_lease_at_once() {
    let at_first = vec![&b"+OK\r\n"[..], ABOUT];
    let somebody = somebody([at_first, Vec::new()]);
    let leases = RedisLeases::connect(&somebody.url).unwrap();
    let asked = Instant::now();
    let said = leases.release(9, LeaseToken::new(1)).unwrap_err().to_string();
    assert!(said.contains("no answer in 1s"), "{said}");
    if asked.elapsed() < TIMEOUT * 3 / 2 {
        for port in 10..99 {
            let again = leases.release(port, LeaseToken::new(1)).unwrap_err().to_string();
            assert!(again.contains("no answer in 1s"), "{again}");
        }
        assert!(asked.elapsed() < TIMEOUT * 9);
    }
    // Who needs the answer asks again.
    let asked = Instant::now();
    assert!(leases.renew(&[(9, LeaseToken::new(1))]).is_err());
    assert!(asked.elapsed() > TIMEOUT / 2);
}

#[test]
fn times_are_limited() {
    let somebody = somebody([vec![&b"+OK\r\n"[..], ABOUT]]);
    let leases = RedisLeases::connect(&somebody.url).unwrap();
    for wrong in [Duration::ZERO, Duration::from_millis(999), Duration::from_secs(3601), Duration::MAX] {
        let said = leases.clone().time_to_live(wrong).unwrap_err().to_string();
        assert!(said.contains("from 1 second to 1 hour"), "{said}");
    }
    let leases = leases.time_to_live(Duration::from_micros(1_000_999)).unwrap();
    assert_eq!(Coordinator::time_to_live(&leases), Some(Duration::from_secs(1)), "as the server counts");
    let shown = format!("{leases:?}");
    assert!(shown.starts_with("RedisLeases { server: 127.0.0.1:") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn what_a_prefix_has_that_means_more_to_a_search_is_escaped() {
    assert_eq!(Keys::new(r"a*b?c[d]\^-").pattern(), r"a\*b\?c\[d\]\\^-:lease:*");
}

proptest! {
    #[test]
    fn what_is_written_is_read(port in 1_u16.., token: u64, pid: u32, test in ".{0,600}", prefix: String) {
        let owner = LeaseOwner { pid, test: Some(test), ..LeaseOwner::current() };
        let record = crate::lease::Record::new(&owner);
        let keys = Keys::new(&prefix);
        let read = keys.read(keys.lease(port).as_bytes(), 700, format!("{token:016x} {record}").as_bytes());
        let read = read.expect("it is one");
        prop_assert_eq!((read.port, read.owner.pid, read.expires_in), (port, pid, Some(Duration::from_millis(700))));
    }

    #[test]
    fn what_others_write_is_none(key: Vec<u8>, port in "[0-9+]{0,6}", millis: i64, lease: Vec<u8>, text: String) {
        let keys = Keys::new("heldport");
        let named = format!("heldport:lease:{port}");
        for lease in [&lease[..], text.as_bytes(), b"0123456789abcdef", b"0123456789abcdef ", b"+123456789abcdef 1 1 h"] {
            prop_assert!(keys.read(&key, millis, lease).is_none());
            let _ = keys.read(named.as_bytes(), millis, lease);
        }
        let read = keys.read(named.as_bytes(), millis, b"0123456789abcdef 1 1 h");
        prop_assert_eq!(read.is_some(), port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port));
    }
}

const URLS: [&str; 4] = [
    "redis://:hunter2@127.0.0.1:6379/3",
    "redis://user:hunter2@[::1]/0",
    "unix:///run/redis.sock?db=1&user=a&pass=hunter2",
    "rediss://:hunter2@host:6380",
];

proptest! {
    #[test]
    fn no_url_is_too_odd_and_what_is_wrong_with_one_is_told_without_it(url in near::text(&URLS)) {
        match url::parse(&url) {
            Ok(info) => prop_assert!(url::place(&info).contains(", database ")),
            Err(e) => prop_assert!(!e.to_string().contains("hunter2"), "{}", e),
        }
    }

    #[test]
    fn no_server_says_too_odd_things_of_itself(about in near::text(&[
        "uptime_in_seconds:5\r\nredis_mode:standalone\r\nrole:master\r\nmaxmemory:1\r\nmaxmemory_policy:noeviction\r\n",
        "uptime_in_seconds:5\r\nredis_mode:cluster\r\nrole:slave\r\n",
        "uptime_in_seconds:5\r\nmaxmemory:1\r\nmaxmemory_policy:allkeys-lru\r\n",
    ])) {
        let told = super::server::unfit(&about);
        let is_up = about.lines().any(|line| line.starts_with("uptime_in_seconds:"));
        prop_assert!(is_up || told.is_some(), "{:?}", about);
    }
}

proptest! {
    // Each has a server, and what is cut off in the middle is waited for.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn no_answer_is_too_odd(answers in prop::collection::vec(near::bytes(&[b"+OK\r\n", ABOUT, LEASED, b"$-1\r\n"]), 1..5)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://:hunter2@{}", listener.local_addr().unwrap());
        thread::spawn(move || {
            for connection in listener.incoming().take(answers.len()) {
                let mut connection = connection.unwrap();
                for answer in &answers {
                    answer_one(&mut connection, answer);
                }
            }
        });
        match RedisLeases::connect(&url) {
            Ok(leases) => drop(leases.list()),
            Err(e) => prop_assert!(!e.to_string().contains("hunter2"), "{}", e),
        }
    }
}
