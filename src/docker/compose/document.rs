//! A compose file with everything in it resolved, and what becomes of it: one for held ports.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::published::{self, Entry};
use super::yaml;

/// What a project has in another way than its file says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A port that the file publishes on a number of its own is published on a held one.
    #[non_exhaustive]
    Port {
        /// The service.
        service: Box<str>,
        /// The port inside, such as `80` or `53/udp`.
        inside: Box<str>,
        /// The number in the file, or a range of them.
        in_file: Box<str>,
        /// The held number.
        port: u16,
    },
    /// A name that nothing else on the engine may have is left out, so that the project may run more than once.
    #[non_exhaustive]
    Name {
        /// What has the name: `service db`, `volume data`, `network back`.
        of: Box<str>,
        /// The name in the file.
        in_file: Box<str>,
    },
}

/// "service web publishes 80 on port 20123, and not on 8080 as its file says"
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { service, inside, in_file, port } => write!(
                f,
                "service {service} publishes {inside} on port {port}, and not on {in_file} as its file says"
            ),
            Self::Name { of, in_file } => write!(f, "{of} is not called {in_file} as its file says"),
        }
    }
}

/// What all services, networks and volumes get, and where ports are published that have no address in the file.
pub(super) struct Dress<'a> {
    pub(super) labels: &'a HashMap<String, String>,
    pub(super) project: &'a str,
    /// The name that it had when the file was resolved.
    pub(super) resolved_as: &'a str,
    /// Names the images that are built here, of services without a name for theirs.
    pub(super) images: &'a str,
    /// Where each place is published, unless the file says it.
    pub(super) published: &'a [SocketAddr],
}

/// A file, as the compose command has resolved it.
#[derive(Clone)]
pub(super) struct Document {
    root: Map<String, Value>,
    /// The ports that are to be held, with their places among these.
    pub(super) entries: Vec<Entry>,
    pub(super) places: usize,
}

impl Document {
    /// Of what `config` prints, with these services and those that they need, or all. The first places are those of
    /// the variables with these numbers.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(super) fn parse(text: &str, services: &[Box<str>], variables: &[u16]) -> Result<Self, String> {
        let parsed = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|e| e.to_string())
        } else {
            yaml::parse(text)
        };
        let Value::Object(mut root) = parsed.map_err(|e| format!("it cannot be read: {e}"))? else {
            return Err("it is no mapping".to_owned());
        };
        let Some(Value::Object(all)) = root.get_mut("services") else {
            return Err("it has no `services`: the first version of compose files had none".to_owned());
        };
        if !services.is_empty() {
            let needed = needed_by(all, services)?;
            all.retain(|name, _| needed.contains(name));
        }
        let (entries, places) = published::entries(all, variables)?;
        Ok(Self { root, entries, places })
    }

    /// Whether this number is anywhere in it.
    pub(super) fn mentions(&self, number: u16) -> bool {
        let (text, number) = (Value::Object(self.root.clone()).to_string(), number.to_string());
        text.split(|c: char| !c.is_ascii_digit()).any(|digits| digits == number)
    }

    /// The services that have to be built and have no name for what comes of it.
    pub(super) fn built(&self) -> Vec<&str> {
        let services = self.root["services"].as_object().into_iter().flatten();
        let built = services.filter(|(_, service)| is_set(&service["build"]) && !is_set(&service["image"]));
        built.map(|(name, _)| &**name).collect()
    }

    /// Whether a service is in the host's network, where it binds by itself.
    pub(super) fn binds_here(&self) -> bool {
        let mut services = self.root["services"].as_object().into_iter().flatten();
        services.any(|(_, service)| service["network_mode"].as_str() == Some("host"))
    }

    /// A file for these places, as text, and what is changed in it.
    pub(super) fn render(&self, dress: &Dress<'_>) -> (String, Vec<Change>) {
        let (mut root, mut changes) = (self.root.clone(), Vec::new());
        let mut needs_default = false;
        for (name, service) in root["services"].as_object_mut().into_iter().flatten() {
            let Some(service) = service.as_object_mut() else { continue };
            if let Some(Value::String(own)) = service.remove("container_name") {
                changes.push(renamed(&format!("service {name}"), &own));
            }
            if service.get("build").is_some_and(is_set) && !service.get("image").is_some_and(is_set) {
                let image = format!("{}-{}", dress.images, name.to_lowercase());
                service.insert("image".to_owned(), image.into());
            }
            needs_default |= !service.contains_key("networks") && !service.contains_key("network_mode");
            label(service, dress.labels);
        }
        self.publish(&mut root, dress.published, &mut changes);
        let networks = root.entry("networks").or_insert_with(|| json!({}));
        if let (Some(networks), true) = (networks.as_object_mut(), needs_default) {
            networks.entry("default").or_insert_with(|| json!({}));
        }
        for kind in ["network", "volume"] {
            let all = root.get_mut(&format!("{kind}s")).and_then(Value::as_object_mut);
            for (name, value) in all.into_iter().flatten() {
                own(kind, name, value, dress, &mut changes);
            }
        }
        // Labels of networks came with 2.1.
        if let Some("2" | "2.0") = root.get("version").and_then(Value::as_str) {
            root.insert("version".to_owned(), "2.1".into());
        }
        // The new command's: the option says the same.
        if root.contains_key("name") {
            root.insert("name".to_owned(), dress.project.into());
        }
        (Value::Object(root).to_string(), changes)
    }

    /// Writes where the ports are published. All versions of files know this form.
    fn publish(&self, root: &mut Map<String, Value>, published: &[SocketAddr], changes: &mut Vec<Change>) {
        for entry in &self.entries {
            let at = published[entry.place];
            let host = entry.host.unwrap_or(at.ip());
            if let Some(in_file) = entry.in_file.as_deref().filter(|_| !entry.is_variable) {
                let (service, inside) = (entry.service.clone(), entry.inside());
                changes.push(Change::Port { service, inside, in_file: in_file.into(), port: at.port() });
            }
            let written = format!("{}:{}/{}", SocketAddr::new(host, at.port()), entry.target, entry.suffix());
            root["services"][&*entry.service]["ports"][entry.index] = written.into();
        }
    }
}

/// Values are not shown: they may be secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("entries", &self.entries).finish_non_exhaustive()
    }
}

fn is_set(value: &Value) -> bool {
    !matches!(value, Value::Null | Value::Bool(false))
}

fn renamed(of: &str, in_file: &str) -> Change {
    Change::Name { of: of.into(), in_file: in_file.into() }
}

/// Makes a network or a volume this project's, unless it is somebody else's.
fn own(kind: &str, name: &str, value: &mut Value, dress: &Dress<'_>, changes: &mut Vec<Change>) {
    if value.is_null() {
        *value = json!({});
    }
    let Some(value) = value.as_object_mut().filter(|value| !value.get("external").is_some_and(is_set)) else {
        return;
    };
    // The new command writes down what it would call it anyway.
    let usual = format!("{}_{name}", dress.resolved_as);
    if let Some(Value::String(own)) = value.remove("name").filter(|own| *own != *usual) {
        changes.push(renamed(&format!("{kind} {name}"), &own));
    }
    label(value, dress.labels);
}

fn label(of: &mut Map<String, Value>, labels: &HashMap<String, String>) {
    let own = of.entry("labels").or_insert_with(|| json!({}));
    // The engine's labels are text, in which `$` stands for a variable here.
    let labels = labels.iter().map(|(key, value)| (key, value.replace('$', "$$")));
    match own {
        Value::Array(own) => own.extend(labels.map(|(key, value)| format!("{key}={value}").into())),
        Value::Object(own) => own.extend(labels.map(|(key, value)| (key.clone(), value.into()))),
        other => {
            let labels = labels.map(|(key, value)| (key.clone(), Value::String(value)));
            *other = Value::Object(labels.collect());
        }
    }
}

/// These services, and all that they need.
fn needed_by(all: &Map<String, Value>, services: &[Box<str>]) -> Result<BTreeSet<String>, String> {
    let (mut needed, mut next) = (BTreeSet::new(), Vec::new());
    for service in services {
        if !all.contains_key(&**service) {
            let there: Vec<_> = all.keys().map(String::as_str).collect();
            return Err(format!("it has no service {service:?}; its services: {}", there.join(", ")));
        }
        next.push(service.to_string());
    }
    while let Some(name) = next.pop() {
        let service = &all[&name];
        if !needed.insert(name) {
            continue;
        }
        let names = |key: &str| match &service[key] {
            Value::Object(named) => named.keys().cloned().collect(),
            Value::Array(named) => named.iter().filter_map(|name| Some(name.as_str()?.to_owned())).collect(),
            _ => Vec::new(),
        };
        let mode = service["network_mode"].as_str().and_then(|mode| mode.strip_prefix("service:"));
        let words = ["depends_on", "links", "volumes_from"].into_iter().flat_map(names);
        let words = words.chain(mode.map(str::to_owned));
        // `db:database` and `db:ro` are about `db`.
        next.extend(
            words
                .filter_map(|word| Some(word.split(':').next()?.to_owned()))
                .filter(|name| all.contains_key(name)),
        );
    }
    Ok(needed)
}

#[cfg(test)]
mod tests;
