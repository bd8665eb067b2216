use super::*;
use crate::near;
use proptest::prelude::*;

fn labels() -> HashMap<String, String> {
    HashMap::from([("heldport.owner".to_owned(), "me".to_owned())])
}

fn rendered(document: &Document, published: &[&str]) -> (Value, Vec<Change>) {
    let published: Vec<_> = published.iter().map(|addr| addr.parse().unwrap()).collect();
    let labels = labels();
    let (images, published) = ("heldport-compose/1", &published[..]);
    let dress = Dress { labels: &labels, project: "second", resolved_as: "unique", images, published };
    let (text, changes) = document.render(&dress);
    (serde_json::from_str(&text).unwrap(), changes)
}

/// As the new command prints it.
const FILE: &str = r#"{
    "name": "unique",
    "networks": { "default": { "name": "unique_default" }, "out": { "external": true, "name": "theirs" } },
    "services": {
        "db": {
            "container_name": "the-db", "image": "redis", "networks": { "default": null },
            "ports": [{ "target": 6379, "published": "20001", "protocol": "tcp" }],
            "environment": { "PRICE": "5$$", "SECRET": "hush" }, "labels": { "a": "b" }
        },
        "Web": {
            "build": { "context": "/x" }, "depends_on": { "db": { "condition": "service_started" } },
            "networks": { "default": null },
            "ports": ["8080:80", { "target": 81, "host_ip": "0.0.0.0" }]
        },
        "other": { "image": "busybox", "ports": ["90"] }
    },
    "volumes": { "data": { "name": "precious" }, "kept": { "external": true, "name": "kept" }, "plain": null }
}"#;

#[test]
fn everything_is_the_projects_own_and_published_where_it_is_held() {
    let document = Document::parse(FILE, &[], &[20001]).unwrap();
    assert_eq!((document.places, document.built()), (4, vec!["Web"]));
    let places: Vec<_> = document.entries.iter().map(|entry| (&*entry.service, entry.place)).collect();
    assert_eq!(places, [("Web", 1), ("Web", 2), ("db", 0), ("other", 3)]);
    let at = ["127.0.0.1:20001", "127.0.0.1:20002", "127.0.0.1:20003", "127.0.0.1:20004"];
    let (file, changes) = rendered(&document, &at);
    assert_eq!(file["services"]["db"]["ports"], json!(["127.0.0.1:20001:6379/tcp"]));
    assert_eq!(file["services"]["Web"]["ports"], json!(["127.0.0.1:20002:80/tcp", "0.0.0.0:20003:81/tcp"]));
    assert_eq!(file["services"]["other"]["ports"], json!(["127.0.0.1:20004:90/tcp"]));
    assert_eq!(file["services"]["db"]["labels"], json!({ "a": "b", "heldport.owner": "me" }));
    assert_eq!(file["services"]["db"]["environment"]["PRICE"], "5$$");
    assert_eq!(file["services"]["Web"]["image"], "heldport-compose/1-web");
    assert_eq!(file["name"], "second");
    assert_eq!(file["networks"]["default"], json!({ "labels": labels() }));
    assert_eq!(file["networks"]["out"], json!({ "external": true, "name": "theirs" }));
    assert_eq!(file["volumes"]["data"], json!({ "labels": labels() }));
    assert_eq!(file["volumes"]["kept"], json!({ "external": true, "name": "kept" }));
    assert_eq!(file["volumes"]["plain"], json!({ "labels": labels() }));
    let told: Vec<_> = changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "service db is not called the-db as its file says",
            "service Web publishes 80 on port 20002, and not on 8080 as its file says",
            "volume data is not called precious as its file says",
        ]
    );
    assert!(!format!("{document:?}").contains("hush"));
}

#[test]
fn services_come_with_what_they_need() {
    let document = Document::parse(FILE, &["Web".into()], &[]).unwrap();
    let (file, _) = rendered(&document, &["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]);
    let services: Vec<_> = file["services"].as_object().unwrap().keys().collect();
    assert_eq!(services, ["Web", "db"]);
    let missing = Document::parse(FILE, &["mail".into()], &[]).unwrap_err();
    assert_eq!(missing, "it has no service \"mail\"; its services: Web, db, other");
}

/// As the old command prints it.
#[test]
fn the_network_that_the_old_command_does_not_mention_is_the_projects_own_too() {
    let text = "services:\n  db:\n    image: redis\n    ports:\n    - published: 5432\n      target: 6379\nversion: '2'\n";
    let document = Document::parse(text, &[], &[]).unwrap();
    let (file, changes) = rendered(&document, &["127.0.0.1:20001"]);
    assert_eq!(file["networks"]["default"], json!({ "labels": labels() }));
    assert_eq!(file["version"], "2.1");
    assert_eq!(changes.len(), 1);
    for wrong in ["db:\n  image: redis\n", "- a\n", "{"] {
        Document::parse(wrong, &[], &[]).unwrap_err();
    }
}

/// As the old command prints it.
const OLD: &str = "networks:\n  default: {}\nservices:\n  db:\n    container_name: the-db\n    image: redis\n    network_mode: \
    service:web\n    ports:\n    - 127.0.0.1:8081:81/udp\n    - published: 5432\n      target: 6379\n  web:\n    build: .\n    \
    depends_on: [db]\n    scale: 1\n    labels: [a=b]\nversion: '2'\nvolumes:\n  data: null\n";

proptest! {
    #[test]
    fn what_is_read_of_an_odd_file_is_written_as_one(text in near::text(&[FILE, OLD]), some: bool) {
        let services: &[Box<str>] = if some { &["db".into()] } else { &[] };
        let Ok(document) = Document::parse(&text, services, &[20001]) else { return Ok(()) };
        let _ = (document.mentions(8080), document.built(), document.binds_here());
        let at: Vec<_> = (1..=document.places).map(|number| format!("127.0.0.1:{number}")).collect();
        let at: Vec<_> = at.iter().map(String::as_str).collect();
        let (file, _) = rendered(&document, &at);
        let again = Document::parse(&file.to_string(), &[], &[]).unwrap();
        prop_assert_eq!(again.entries.len(), document.entries.len());
    }
}
