use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::allocator::PortAllocator;
use crate::error::{Error, Result};
use crate::node::TestNode;
use crate::protocol::Protocol;

/// Ports of these names.
async fn ports(names: &[&str]) -> NodePorts {
    TestNode::builder().with_ports(names).await.unwrap().ports().clone()
}

fn own_labels() -> HashMap<String, String> {
    [("heldport.run".to_owned(), "r1".to_owned())].into()
}

fn on_loopback(numbers: &[u16]) -> Vec<(u16, IpAddr)> {
    numbers.iter().map(|number| (*number, Ipv4Addr::LOCALHOST.into())).collect()
}

/// Rendered for one port, which is 6379 inside.
async fn rendered(mut spec: ContainerSpec) -> Result<(Value, u16)> {
    let ports = ports(&["6379"]).await;
    let bindings = on_loopback(&vec![20123; spec.published().len()]);
    let body = spec.render(&ports, &bindings, &own_labels())?.body;
    Ok((serde_json::to_value(body).unwrap(), ports.addr().port()))
}

/// A spec that has everything.
fn rich() -> ContainerSpec {
    ContainerSpec::new("redis:7")
        .cmd(["redis-server", "--announce", "{port:6379}"])
        .entrypoint(["/init", "{addr}"])
        .env("A", "1")
        .envs([("URL", "redis://{addr:6379}/{db}"), ("A", "2")])
        .env_with(|ports| [("LATE", format!("{}{{port}}", ports.port("6379")))])
        .user("1000:1000")
        .working_dir("/data")
        .hostname("h{port}")
        .label("team", "p{port}")
        .health(
            Health::shell("redis-cli -p 6379 # {port}")
                .interval(Duration::from_millis(200))
                .timeout(Duration::from_secs(2))
                .retries(5)
                .start_period(Duration::from_secs(1)),
        )
        .network("net")
        .network_alias("redis")
        .mount(Mount::bind("/srv", "/srv").read_only())
        .mount(Mount::volume("cache", "/cache"))
        .tmpfs("/tmp")
        .tmpfs_with("/run", "size=1m")
        .publish(6379)
        .publish_udp(53)
}

#[tokio::test]
async fn all_that_was_set_is_asked_for() {
    let mut spec = rich();
    spec.check().unwrap();
    let ports = ports(&["6379", "53/udp"]).await;
    let bindings = [(20123, Ipv4Addr::LOCALHOST.into()), (0, IpAddr::from([0, 0, 0, 0]))];
    let rendered = spec.render(&ports, &bindings, &own_labels()).unwrap();
    let (addr, port) = (ports.addr(), ports.addr().port());
    let expected = json!({
        "Image": "redis:7",
        "Cmd": ["redis-server", "--announce", port.to_string()],
        "Entrypoint": ["/init", addr.to_string()],
        "Env": ["A=2", format!("URL=redis://{addr}/{{db}}"), format!("LATE={port}{{port}}")],
        "User": "1000:1000",
        "WorkingDir": "/data",
        "Hostname": format!("h{port}"),
        "Labels": { "team": format!("p{port}"), "heldport.run": "r1" },
        "Healthcheck": {
            "Test": ["CMD-SHELL", format!("redis-cli -p 6379 # {port}")],
            "Interval": 200_000_000,
            "Timeout": 2_000_000_000,
            "Retries": 5,
            "StartPeriod": 1_000_000_000,
        },
        "Tty": false,
        "OpenStdin": false,
        "ExposedPorts": { "6379/tcp": {}, "53/udp": {} },
        "HostConfig": {
            "AutoRemove": false,
            "RestartPolicy": { "Name": "no" },
            "NetworkMode": "net",
            "Mounts": [
                { "Type": "bind", "Source": "/srv", "Target": "/srv", "ReadOnly": true },
                {
                    "Type": "volume", "Source": "cache", "Target": "/cache",
                    "VolumeOptions": { "Labels": { "heldport.run": "r1" } },
                },
            ],
            "Tmpfs": { "/tmp": "", "/run": "size=1m" },
            "PortBindings": {
                "6379/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "20123" }],
                "53/udp": [{ "HostIp": "0.0.0.0", "HostPort": "" }],
            },
        },
        "NetworkingConfig": { "EndpointsConfig": { "net": { "Aliases": ["redis"] } } },
    });
    assert_eq!(serde_json::to_value(rendered.body).unwrap(), expected);
    assert!(rendered.archive.is_none());
}

#[tokio::test]
async fn a_plain_one_leaves_the_rest_to_the_image() {
    let (body, _) = rendered(ContainerSpec::new("redis:7")).await.unwrap();
    let expected = json!({
        "Image": "redis:7",
        "Tty": false,
        "OpenStdin": false,
        "Labels": { "heldport.run": "r1" },
        "HostConfig": { "AutoRemove": false, "RestartPolicy": { "Name": "no" } },
    });
    assert_eq!(body, expected);
}

#[tokio::test]
async fn each_start_has_its_own_numbers() {
    let mut spec = ContainerSpec::new("redis:7").publish(6379).env("URL", "{addr}");
    let mut starts = 0;
    spec = spec.env_with(move |_| {
        starts += 1;
        [("START", starts.to_string())]
    });
    for start in ["START=1", "START=2"] {
        let ports = ports(&["6379"]).await;
        let rendered = spec.render(&ports, &on_loopback(&[20123]), &own_labels()).unwrap();
        assert_eq!(rendered.body.env.unwrap(), [format!("URL={}", ports.addr()), start.to_owned()]);
    }
}

#[tokio::test]
async fn a_word_for_a_port_that_is_not_published_is_an_error() {
    let file = ContainerSpec::new("redis:7").file("/f", "{port:16379}");
    for spec in [ContainerSpec::new("redis:7").env("BUS", "{port:16379}"), file] {
        let error = rendered(spec).await.unwrap_err();
        assert!(matches!(error, Error::NoSuchPort { .. }), "{error}");
        assert!(error.to_string().contains("{port:16379}"), "{error}");
    }
}

#[test]
fn numbers_are_needed_by_what_is_made_of_them() {
    let plain = || ContainerSpec::new("redis:7").publish(6379).env("A", "${HOME}{x}").cmd(["a"]);
    assert!(!plain().file("/f", "server { }").file_bytes("/b", "{port}").needs_numbers());
    for (what, spec) in [
        ("cmd", plain().cmd(["{port}"])),
        ("entrypoint", plain().entrypoint(["{addr}"])),
        ("env", plain().env("A", "{port:6379}")),
        ("env_with", plain().env_with(|_| None::<(String, String)>)),
        ("file", plain().file("/f", "{addr:6379}")),
        ("health", plain().health(Health::command(["{port}"]))),
        ("hostname", plain().hostname("{port}")),
        ("label", plain().label("a", "{port}")),
    ] {
        assert!(spec.needs_numbers(), "{what}");
    }
}

#[cfg(feature = "bollard-0-21")]
#[tokio::test]
async fn what_is_changed_by_hand_counts_but_for_ports_and_labels() {
    use bollard::models::PortBinding;

    let binding = |port: &str| Some(vec![PortBinding { host_ip: None, host_port: Some(port.into()) }]);
    let spec = ContainerSpec::new("redis:7").publish(6379).user("a").configure_bollard_0_21(move |body| {
        body.user = Some("b".into());
        body.labels = Some([("heldport.run".into(), "forged".into()), ("own".into(), "1".into())].into());
        body.exposed_ports = Some(vec!["6379/tcp".into()]);
        let host_config = body.host_config.get_or_insert_default();
        host_config.memory = Some(64 << 20);
        host_config.port_bindings =
            Some([("6379/tcp".into(), binding("1")), ("80/tcp".into(), binding("2"))].into());
    });
    let (body, _) = rendered(spec).await.unwrap();
    assert_eq!(body["User"], "b");
    assert_eq!(body["Labels"], json!({ "heldport.run": "r1", "own": "1" }));
    assert_eq!(body["ExposedPorts"], json!({ "6379/tcp": {} }));
    assert_eq!(body["HostConfig"]["Memory"], 64 << 20);
    let bindings = json!({
        "6379/tcp": [{ "HostIp": "127.0.0.1", "HostPort": "20123" }],
        "80/tcp": [{ "HostPort": "2" }],
    });
    assert_eq!(body["HostConfig"]["PortBindings"], bindings);
}

#[tokio::test]
async fn a_port_held_for_both_protocols_is_published_for_both_on_one_number() {
    let both = PortAllocator::builder().protocol(Protocol::TcpAndUdp).build().unwrap().acquire().unwrap();
    let number = both.port();
    let mut spec = ContainerSpec::new("dns").publish_preferred(7777, 80).publish_held(both, 53);
    spec.check().unwrap();
    let published = spec.take_published();
    assert!(matches!(published[0].choice, Choice::Preferred(7777)));
    assert!(matches!(&published[1].choice, Choice::Held(held) if held.port() == number));
    assert_eq!(published[1].port, ContainerPort { number: 53, protocol: Protocol::TcpAndUdp });
    // Without what was taken, it still knows which ports they are for.
    let rendered = spec.render(&ports(&["80", "53"]).await, &on_loopback(&[7777, number]), &own_labels());
    let bindings = rendered.unwrap().body.host_config.unwrap().port_bindings.unwrap();
    let number_of = |key: &str| bindings[key].as_ref().unwrap()[0].host_port.clone().unwrap();
    assert_eq!(number_of("80/tcp"), "7777");
    assert_eq!([number_of("53/tcp"), number_of("53/udp")], [number.to_string(), number.to_string()]);
    assert_eq!(bindings.len(), 3);
}

#[test]
fn ports_are_called_as_in_texts() {
    let spec = ContainerSpec::new("dns").publish(53).publish_udp(53);
    spec.check().unwrap();
    assert_eq!(spec.published().iter().map(ToString::to_string).collect::<Vec<_>>(), ["53", "53/udp"]);
}

#[test]
fn what_has_no_meaning_is_refused() {
    let new = || ContainerSpec::new("redis:7");
    let short = Duration::from_micros(999);
    let udp = || PortAllocator::builder().protocol(Protocol::TcpAndUdp).build().unwrap().acquire().unwrap();
    for (spec, name, reason) in [
        (ContainerSpec::new(" "), "new", "empty"),
        (new().name(""), "name", "empty"),
        (new().cmd::<&str>([]), "cmd", "empty"),
        (new().entrypoint(["", "a"]), "entrypoint", "program"),
        (new().working_dir("data"), "working_dir", "absolute"),
        (new().label("", "a"), "label", "empty"),
        (new().label("heldport.run", "a"), "label", "heldport."),
        (new().env("", "a"), "env", "empty"),
        (new().env("A=B", "a"), "env", "`=`"),
        (new().health(Health::command(["a"]).interval(short)), "health", "1 ms"),
        (new().health(Health::command(["a"]).timeout(short)), "health", "1 ms"),
        (new().health(Health::command(["a"]).start_period(short)), "health", "1 ms"),
        (new().health(Health::command(["a"]).retries(0)), "health", "retries"),
        (new().health(Health::command::<&str>([])), "health", "command is empty"),
        (new().health(Health::shell("")), "health", "command is empty"),
        (new().publish(0), "publish", "is 0"),
        (new().publish_preferred(0, 80), "publish_preferred", "prefer is 0"),
        (new().publish(80).publish_preferred(7777, 80), "publish", "twice"),
        (new().publish_udp(53).publish_held(udp(), 53), "publish", "twice"),
        (new().network(""), "network", "empty"),
        (new().network("host").publish(80), "network", "nothing is published"),
        (new().network("none").publish(80), "network", "nothing is published"),
        (new().network("container:a").publish(80), "network", "nothing is published"),
        (new().network_alias("a"), "network_alias", "network"),
        (new().network("a").network_alias(""), "network_alias", "empty"),
        (new().mount(Mount::bind("srv", "/srv")), "mount", "host"),
        (new().mount(Mount::bind("/srv", "srv")), "mount", "in the container"),
        (new().mount(Mount::volume("", "/srv")), "mount", "volume"),
        (new().tmpfs("run"), "tmpfs", "in the container"),
        (new().read_only().file("/f", ""), "read_only", "mount"),
        (new().file("f", ""), "file", "`/`"),
        (new().file("/", ""), "file", "`/`"),
        (new().file_bytes("/a/../../f", ""), "file_bytes", "`..`"),
        (new().copy("a", "/a/"), "copy", "own name"),
        (new().tmpfs("/run/").file("//run/./f", ""), "file", "tmpfs"),
        (new().mount(Mount::bind("/srv", "/srv")).copy("a", "/srv/a"), "copy", "host"),
    ] {
        match spec.check() {
            Err(Error::InvalidSetting { name: own, reason: why }) => {
                assert_eq!(own, name, "{why}");
                assert!(why.contains(reason), "{name}: {why}");
            }
            other => panic!("{name}, {reason}: {other:?}"),
        }
    }
}

#[test]
fn what_has_a_meaning_is_taken() {
    let new = || ContainerSpec::new("redis:7");
    for spec in [
        new(),
        new().entrypoint::<&str>([]).cmd([""]),
        new().health(Health::none()),
        new().network("host"),
        new().tmpfs("/run").file("/runner", ""),
        new().mount(Mount::volume("v", "/v")).copy("a", "/v/a"),
        new().copy("root", "/"),
    ] {
        spec.check().unwrap();
    }
}

#[tokio::test]
async fn a_late_variable_has_a_name_too() {
    let error = rendered(ContainerSpec::new("redis:7").env_with(|_| [("A=B", "")])).await.unwrap_err();
    assert!(matches!(error, Error::InvalidSetting { name: "env", .. }), "{error}");
}

#[test]
fn debug_shows_no_secret() {
    let spec = rich()
        .name("db")
        .cmd(["s3cret"])
        .env("PASSWORD", "s3cret")
        .label("token", "s3cret")
        .file("/key", "s3cret")
        .file_bytes("/key2", "s3cret");
    let shown = format!("{spec:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let expected = r#"ContainerSpec { image: "redis:7", name: Some("db"), published: [6379, 53/udp], .. }"#;
    assert_eq!(shown, expected);
}
