//! A service of a stack: a node, and what is known of it among the others.

use std::ops::{Deref, DerefMut};

use super::teller::State;
use crate::docker::connect::Docker;
use crate::docker::container::Container;
use crate::docker::launch::ContainerLaunch;
use crate::docker::spec::ContainerSpec;
use crate::error::{Error, Result};
use crate::node::{TestNode, TestNodeBuilder};

/// What a service of a [`Stack`](super::Stack) can be made of: a [`ContainerSpec`], a [`TestNodeBuilder`] of any kind, and
/// a `Result` with one of these.
pub trait IntoService: sealed::Sealed {
    #[doc(hidden)]
    fn into_service(self) -> Result<TestNodeBuilder>;
}

mod sealed {
    pub trait Sealed {}

    impl Sealed for super::ContainerSpec {}
    impl Sealed for super::TestNodeBuilder {}
    impl<S: super::IntoService> Sealed for super::Result<S> {}
}

impl IntoService for ContainerSpec {
    fn into_service(self) -> Result<TestNodeBuilder> {
        Ok(TestNode::builder().container(self))
    }
}

impl IntoService for TestNodeBuilder {
    fn into_service(self) -> Result<TestNodeBuilder> {
        Ok(self)
    }
}

impl<S: IntoService> IntoService for Result<S> {
    fn into_service(self) -> Result<TestNodeBuilder> {
        self?.into_service()
    }
}

/// A service of which the ports are held.
pub(super) struct Service {
    name: Box<str>,
    node: Node,
    /// Those that have to be ready before it starts, by their places.
    pub(super) after: Vec<usize>,
    /// Nobody knows its numbers: on others it is as good.
    pub(super) may_move: bool,
}

enum Node {
    Container(Container),
    Other(TestNode),
}

impl Service {
    /// Puts it among the others, and acquires its ports.
    pub(super) async fn acquire(
        name: &str,
        builder: TestNodeBuilder,
        docker: &Docker,
        network: &str,
        after: Vec<usize>,
    ) -> Result<Self> {
        let mut builder = builder.or_name(|| name.into());
        let made = builder.launch_mut::<ContainerLaunch>().map(|launch| {
            launch.join(docker, network, name);
            (launch.docker().unwrap_or(docker).clone(), launch.slot())
        });
        let node = builder.unstarted().await?;
        let node = match made {
            Some((docker, made)) => Node::Container(Container::of(node, docker, made)),
            None => Node::Other(node),
        };
        Ok(Self { name: name.into(), node, after, may_move: true })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn container(&self) -> Option<&Container> {
        match &self.node {
            Node::Container(container) => Some(container),
            Node::Other(_) => None,
        }
    }

    /// How far it is, with its last output.
    fn report(&self, state: &State) -> String {
        let name = &self.name;
        match (state, self.check()) {
            // Before the one that is said to have failed first, perhaps: that waited for it.
            (State::Ready { .. }, Err(ended)) => format!("{name}: {state}; {ended}"),
            _ => match self.last_output() {
                Some(output) => format!("{name}: {state}; {output}"),
                None => format!("{name}: {state}"),
            },
        }
    }

    /// Asks it to end, and removes what is left of it.
    pub(super) async fn end(mut self) -> Result<()> {
        let stopped = self.stop().await.map(drop);
        match self.node {
            Node::Container(container) => stopped.and(container.remove().await),
            Node::Other(_) => stopped,
        }
    }
}

impl Deref for Service {
    type Target = TestNode;

    fn deref(&self) -> &TestNode {
        match &self.node {
            Node::Container(container) => container,
            Node::Other(node) => node,
        }
    }
}

impl DerefMut for Service {
    fn deref_mut(&mut self) -> &mut TestNode {
        match &mut self.node {
            Node::Container(container) => container,
            Node::Other(node) => node,
        }
    }
}

/// In the order in which they were named, in which nobody needs one behind it. They end in the reverse.
#[derive(Default)]
pub(super) struct Services(Vec<Service>);

impl Services {
    pub(super) fn push(&mut self, service: Service) {
        self.0.push(service);
    }

    pub(super) fn pop(&mut self) -> Option<Service> {
        self.0.pop()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Service> {
        self.0.iter()
    }

    pub(super) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Service> {
        self.0.iter_mut()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Service::name)
    }

    #[track_caller]
    pub(super) fn place_of(&self, name: &str) -> usize {
        self.names().position(|own| own == name).unwrap_or_else(|| {
            let names: Vec<_> = self.names().collect();
            panic!("there is no service {name:?} here; there are: {names:?}")
        })
    }

    pub(super) fn at(&self, place: usize) -> &Service {
        &self.0[place]
    }

    #[track_caller]
    pub(super) fn named(&self, name: &str) -> &Service {
        self.at(self.place_of(name))
    }

    #[track_caller]
    pub(super) fn named_mut(&mut self, name: &str) -> &mut Service {
        let place = self.place_of(name);
        &mut self.0[place]
    }

    /// Numbers that others have been told stay.
    pub(super) fn fix(&mut self, places: &[usize]) {
        for place in places {
            self.0[*place].may_move = false;
        }
    }

    /// The error for one that has failed, while the others are still there to tell of.
    pub(super) fn error(&self, failed: usize, error: Error, states: &[State]) -> Error {
        let others = self.iter().zip(states).enumerate().filter(|(place, _)| *place != failed);
        let others: Vec<_> = others.map(|(_, (service, state))| service.report(state)).collect();
        Error::Stack {
            service: self.0[failed].name.clone(),
            error: Box::new(error),
            others: others.join("\n").into(),
        }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}
