//! The request for a container, when its ports are known.

use std::collections::HashMap;
use std::net::IpAddr;

use bollard::models::{ContainerCreateBody, EndpointSettings, MountType, NetworkingConfig, PortBinding};

use super::check::check_variable;
use super::files::Contents;
use super::{ContainerSpec, Variable, archive};
use crate::error::Result;
use crate::node::NodePorts;
use crate::node::template::{self, Values};
use crate::protocol::Protocol;

/// What the engine is asked for.
pub(crate) struct Rendered {
    pub(crate) body: ContainerCreateBody,
    /// Files for `/`, as a tar.
    pub(crate) archive: Option<Vec<u8>>,
}

impl ContainerSpec {
    /// The request for these ports. `bindings` has a number of the host (0: the engine chooses) and an address for
    /// each of [`published`](Self::published). Reads the files that are copied.
    pub(crate) fn render(
        &mut self,
        ports: &NodePorts,
        bindings: &[(u16, IpAddr)],
        labels: &HashMap<String, String>,
    ) -> Result<Rendered> {
        debug_assert_eq!(bindings.len(), self.published.len());
        let values = Values { ports, directory: None };
        let render = |text: &str| template::render(text, &values);
        let mut body = (*self.body).clone();
        for text in texts(&mut body) {
            *text = render(text)?;
        }
        body.env = self.environment(ports, render)?;
        body.networking_config = self.networking_config();
        let archive = archive::pack(&self.files, render)?;
        self.changes.iter_mut().for_each(|change| change(&mut body));
        self.put_bindings(&mut body, bindings);
        put_labels(&mut body, labels);
        Ok(Rendered { body, archive })
    }

    /// Whether anything is made of the ports: then their numbers have to be known before the start.
    pub(crate) fn needs_numbers(&self) -> bool {
        // One number for both protocols: the engine would choose two.
        if self.published.iter().any(|port| port.protocol == Protocol::TcpAndUdp) {
            return true;
        }
        let mut body = self.body.clone();
        let files = self.files.iter().map(|file| &file.contents);
        texts(&mut body).any(|text| names_a_port(text))
            || files.into_iter().any(|file| matches!(file, Contents::Text(text) if names_a_port(text)))
            || self.variables.iter().any(|variable| match variable {
                Variable::Set(_, value) => names_a_port(value),
                Variable::Late(_) => true,
            })
    }

    /// In the order of the calls, each name once: what a program does with two is its own.
    fn environment(
        &mut self,
        ports: &NodePorts,
        render: impl Fn(&str) -> Result<String>,
    ) -> Result<Option<Vec<String>>> {
        let mut environment: Vec<(String, String)> = Vec::new();
        let mut put = |name: String, value: String| match environment.iter_mut().find(|(own, _)| *own == name)
        {
            Some((_, own)) => *own = value,
            None => environment.push((name, value)),
        };
        for variable in &mut self.variables {
            match variable {
                Variable::Set(name, value) => put(name.clone(), render(value)?),
                Variable::Late(late) => {
                    for (name, value) in late(ports) {
                        check_variable(&name)?;
                        put(name, value);
                    }
                }
            }
        }
        let lines: Vec<_> = environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        Ok(Some(lines).filter(|lines| !lines.is_empty()))
    }

    fn networking_config(&self) -> Option<NetworkingConfig> {
        let network = self.body.host_config.as_ref()?.network_mode.clone()?;
        let aliases = Some(self.network_aliases.clone()).filter(|aliases| !aliases.is_empty())?;
        let endpoint = EndpointSettings { aliases: Some(aliases), ..Default::default() };
        Some(NetworkingConfig { endpoints_config: Some([(network, endpoint)].into()) })
    }

    /// Beside others that were put in by hand.
    fn put_bindings(&self, body: &mut ContainerCreateBody, bindings: &[(u16, IpAddr)]) {
        for (port, (number, address)) in self.published.iter().zip(bindings) {
            for key in port.keys() {
                let host_port = if *number == 0 { String::new() } else { number.to_string() };
                let binding = PortBinding { host_ip: Some(address.to_string()), host_port: Some(host_port) };
                let host_config = body.host_config.get_or_insert_default();
                host_config.port_bindings.get_or_insert_default().insert(key.clone(), Some(vec![binding]));
                let exposed = body.exposed_ports.get_or_insert_default();
                if !exposed.contains(&key) {
                    exposed.push(key);
                }
            }
        }
    }
}

/// The container's, and those of volumes that come into being with it.
fn put_labels(body: &mut ContainerCreateBody, labels: &HashMap<String, String>) {
    body.labels.get_or_insert_default().extend(labels.clone());
    let mounts = body.host_config.as_mut().and_then(|host_config| host_config.mounts.as_mut());
    for mount in mounts.into_iter().flatten().filter(|mount| mount.typ == Some(MountType::VOLUME)) {
        let options = mount.volume_options.get_or_insert_default();
        options.labels.get_or_insert_default().extend(labels.clone());
    }
}

/// Where words stand for ports, beside variables and files.
fn texts(body: &mut ContainerCreateBody) -> impl Iterator<Item = &mut String> {
    let health = body.healthcheck.as_mut().and_then(|health| health.test.as_mut());
    let lists = [body.cmd.as_mut(), body.entrypoint.as_mut(), health];
    let labels = body.labels.iter_mut().flat_map(HashMap::values_mut);
    lists.into_iter().flatten().flatten().chain(body.hostname.as_mut()).chain(labels)
}

fn names_a_port(text: &str) -> bool {
    ["{port", "{addr"].iter().any(|word| text.contains(word))
}
