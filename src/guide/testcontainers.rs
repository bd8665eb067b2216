//! From testcontainers: what maps to what, what is different and why, and what testcontainers has that is not here.
//! (Feature `docker`.)
//!
//! Compared is the crate `testcontainers` 0.28. Both start containers for a test and remove them behind it, through the
//! same engine and the same client (bollard). They differ in who chooses the port, and when.
//!
//! # What maps to what
//!
//! | testcontainers | here |
//! |---|---|
//! | `GenericImage::new("redis", "7")` | [`ContainerSpec::new("redis:7")`](crate::docker::ContainerSpec::new) |
//! | `.with_exposed_port(6379.tcp())` | [`.publish(6379)`](crate::docker::ContainerSpec::publish), [`.publish_udp(53)`](crate::docker::ContainerSpec::publish_udp) |
//! | `.with_mapped_port(7777, 6379.tcp())` | [`.publish_held(port, 6379)`](crate::docker::ContainerSpec::publish_held), [`.publish_preferred(7777, 6379)`](crate::docker::ContainerSpec::publish_preferred) |
//! | `.start().await?` | [`docker.run(spec).await?`](crate::docker::Docker::run) |
//! | `container.get_host_port_ipv4(6379).await?` | [`container.port("6379")`](crate::TestNode::port), [`container.addr()`](crate::TestNode::addr), before the start [`{port:6379}`](crate::docker::ContainerSpec) |
//! | `container.get_host().await?` | [`container.addr().ip()`](crate::TestNode::addr) |
//! | `.with_env_var("K", "V")` | [`.env("K", "V")`](crate::docker::ContainerSpec::env), of ports [`.env_with(…)`](crate::docker::ContainerSpec::env_with) |
//! | `.with_cmd([…])` | [`.cmd([…])`](crate::docker::ContainerSpec::cmd) |
//! | `.with_copy_to(target, source)` | [`.file(target, text)`](crate::docker::ContainerSpec::file), [`.copy(…)`](crate::docker::ContainerSpec::copy) |
//! | `.with_mount(Mount::tmpfs_mount("/data"))` | [`.tmpfs("/data")`](crate::docker::ContainerSpec::tmpfs), [`.mount(Mount::…)`](crate::docker::Mount) |
//! | `.with_network("name")` | [`docker.network()`](crate::docker::Docker::network) and [`.network(network.name())`](crate::docker::ContainerSpec::network), or a [`Stack`](crate::docker::Stack), which has one |
//! | `.with_container_name("name")` | [`.name("name")`](crate::docker::ContainerSpec::name) |
//! | `WaitFor::message_on_stdout("ready")` | [`Ready::log("ready")`](crate::Ready::log), of either stream |
//! | `WaitFor::healthcheck()` | nothing: it is the default, where there is one; [`Ready::healthy()`](crate::Ready::healthy) |
//! | `WaitFor::http(…)` | [`Ready::http(…)`](crate::Ready) (feature `http`) |
//! | `WaitFor::seconds(5)` | not here: say what is waited for |
//! | `.with_startup_timeout(…)` | [`TestNodeBuilder::ready_within`](crate::TestNodeBuilder::ready_within) |
//! | `container.exec(ExecCommand::new([…]))` | [`container.exec([…])`](crate::docker::Container::exec) |
//! | `container.stdout_to_vec().await?` | [`container.logs()`](crate::TestNode::logs), [`wait_for_log`](crate::TestNode::wait_for_log) |
//! | `container.stop().await?`, `.start().await?` | [`stop`](crate::TestNode::stop), [`start`](crate::TestNode::start), [`restart`](crate::TestNode::restart), on the same number |
//! | `container.rm().await?` | [`container.remove()`](crate::docker::Container::remove), or `drop` |
//! | `.with_health_check(…)` | [`.health(…)`](crate::docker::ContainerSpec::health) |
//! | `.with_host_config_modifier(…)` | [`.configure_bollard_0_21(…)`](crate::docker::ContainerSpec) (feature `bollard-0-21`) |
//! | `ReuseDirective` | not here: see below |
//! | `DockerCompose` (feature `docker-compose`) | `docker::Compose` (feature `compose`) |
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> heldport::Result<()> {
//! // let redis = GenericImage::new("redis", "7")
//! //     .with_exposed_port(6379.tcp())
//! //     .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
//! //     .start()
//! //     .await?;
//! // let addr = format!("127.0.0.1:{}", redis.get_host_port_ipv4(6379).await?);
//! use heldport::docker::{ContainerSpec, Docker};
//!
//! let docker = Docker::shared().await?;
//! let redis = docker.run(ContainerSpec::new("redis:7").publish(6379)).await?;
//! let addr = redis.addr(); // it accepts connections there, and it is this container that does
//! # Ok(()) }
//! ```
//!
//! # What is different, and why
//!
//! **The number is known before the start.** testcontainers leaves it to the engine, which chooses when the container
//! starts: too late for what has to tell it to others. A Kafka listener, a Redis Cluster's announced port, an issuer's
//! URL are configured behind the start there, by a script that waits for a file or by a restart. Here the number is held
//! first, and `{addr:9092}` is right from the first line on.
//!
//! **It stays the same over a restart.** The engine chooses anew at each start, so that after `stop` and `start` clients
//! look for the container where it no longer is. Here it keeps its number: as a
//! [`TestNode`](crate::TestNodeBuilder::container) nobody else gets it in between.
//!
//! **A number of one's own is no bet.** `with_mapped_port` needs a number that is free, and that nobody takes before
//! the engine binds it. What is held is not free to others, and lent to the engine alone. Whoever is faster all the same
//! (a program that asks for this very number with SO_REUSEADDR, in the third of a second of a start) costs another try on
//! another number, with all texts made anew.
//!
//! **Readiness cannot be fooled by the engine's proxy**, which accepts connections before the program inside is there:
//! the default is the image's health check if it has one, or else a connection to each port that stays open.
//!
//! **What is left of killed tests is removed without a container of its own.** testcontainers removes in `Drop`, and by
//! a signal handler (feature `watchdog`); what `kill -9` leaves stays. Here a helper process removes it within
//! seconds, where the engine's command line is there, and the next run removes the rest: only what carries the labels
//! of an owner that has died. No privileged container with the engine's socket is started.
//!
//! **Ports are published on 127.0.0.1** unless you say otherwise: a test's database faces nobody but the test.
//!
//! **`Drop` works outside of a runtime too**, and where the runtime has gone. It waits until the container is removed, as
//! there: the next test finds its port and its name free.
//!
//! **What it prints is shown if the test fails**, line by line with its name, and is in the error if it does not get
//! ready.
//!
//! # What testcontainers has that is not here
//!
//! - **Modules**: `testcontainers-modules` has dozens of services ready-made, with their settings and conditions. Here you
//!   write the image, its ports and its variables yourself, mostly three lines.
//! - **Building images** (`GenericBuildableImage`): build them before, or by a compose file.
//! - **Leaving containers** behind to be looked at (`TESTCONTAINERS_COMMAND=keep`).
//! - **Reuse** of containers over several runs (`ReuseDirective`): each test has its own. To share one among the tests of
//!   a process, keep it in a `OnceCell`.
//! - **Exposing the host's ports** to containers (feature `host-port-exposure`, by an SSH tunnel): a server of this
//!   machine holds its port on the network's [gateway](crate::docker::Peers::gateway) instead, which needs no tunnel, and
//!   works with engines of this machine alone.
//! - **TLS and ssh** to remote engines by itself: here by a bollard client of your own
//!   ([`Docker::from_bollard_0_21`](crate::docker::Docker), feature `bollard-0-21`).
//! - **Registries with credentials** from docker's configuration: pull the image before.
//! - **A blocking API**: start containers in a runtime; what is started may be used and dropped outside of one.
//! - Copying files **out** of containers (`copy_file_from`): `exec(["cat", …])` for texts. Consumers of a container's log:
//!   it goes to the test's output, and to `logs`.
