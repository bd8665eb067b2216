//! Images that are there before a container is made of them.

mod progress;
mod reference;

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard::Docker as Client;
use bollard::errors::Error as Refusal;
use bollard::query_parameters::CreateImageOptions;
use futures_util::StreamExt;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::connect::Docker;
use super::engine::{Engine, status_of, words};
use crate::error::{Error, Result};
pub use progress::PullProgress;
use progress::Teller;
use reference::Reference;

/// When an image is fetched from its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pull {
    /// When the engine does not have it. The default.
    #[default]
    Missing,
    /// Once in each process, so that what the tag means now is used.
    Always,
    /// Not at all: what the engine does not have is an error.
    Never,
}

impl Docker {
    /// Sees to it that the engine has an image, before containers need it: so a test's time does not depend on
    /// whether it is the first. Containers do this by themselves.
    ///
    /// `image` is what the docker command takes: `redis`, which is `redis:latest`, `redis:7`, `registry:5000/team/x`,
    /// `redis@sha256:…`. It is pulled without credentials: those of `docker login` are not read. `on_pull` is told
    /// how that goes on, on the engine's thread; it is also told to `tracing`, and to people if stderr is a terminal.
    ///
    /// ```no_run
    /// # use heldport::docker::{Docker, Pull};
    /// # async fn test() -> heldport::Result<()> {
    /// let docker = Docker::shared().await?;
    /// docker.provide("redis:7", Pull::Missing, |pull| println!("{}/{}", pull.bytes_done, pull.bytes)).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Whoever needs the same image in this process waits for the one pull; of several processes, the engine makes
    /// one. If the future is dropped, the pull goes on to its end: the next test will need the image.
    ///
    /// # Errors
    /// [`Error::Docker`] if the engine does not have it and cannot get it, or is not to.
    pub async fn provide(
        &self,
        image: &str,
        pull: Pull,
        on_pull: impl Fn(&PullProgress) + Send + Sync + 'static,
    ) -> Result<()> {
        provide(&self.0, image, pull, Some(Arc::new(on_pull))).await
    }
}

/// Is told how a pull goes on.
pub(super) type OnPull = Arc<dyn Fn(&PullProgress) + Send + Sync>;

/// For [`Docker::provide`], and each container.
pub(super) async fn provide(engine: &Engine, image: &str, pull: Pull, on_pull: Option<OnPull>) -> Result<()> {
    let reference = Reference::parse(image)
        .map_err(|wrong| Error::docker(&format!("use the image {image:?}"), wrong, None))?;
    let (image, at) = (image.to_owned(), engine.found_at().to_owned());
    let provided = engine.ask(move |client| async move {
        if pull != Pull::Always && is_there(&client, &image).await? {
            return Ok(());
        }
        if pull == Pull::Never {
            let next = "the engine does not have it, and it is not to be pulled\n\
                 next: `docker pull` or `docker load` it, or leave out `Pull::Never`";
            return Err(Error::docker(&format!("use the image {image}"), next, Some(404)));
        }
        let pulled = lock_of(at, &image);
        let mut pulled = pulled.lock().await;
        if pull == Pull::Always && *pulled || pull != Pull::Always && is_there(&client, &image).await? {
            return Ok(());
        }
        pull_it(&client, &image, &reference, on_pull).await?;
        *pulled = true;
        Ok(())
    })?;
    provided.answer().await?
}

async fn is_there(client: &Client, image: &str) -> Result<bool> {
    match client.inspect_image(image).await {
        Ok(_) => Ok(true),
        Err(refusal) if status_of(&refusal) == Some(404) => Ok(false),
        Err(refusal) => Err(Error::refused(&format!("look for the image {image}"))(refusal)),
    }
}

/// Is held while an image is pulled, and says whether this process has pulled it.
fn lock_of(engine: String, image: &str) -> Arc<AsyncMutex<bool>> {
    type Locks = BTreeMap<(String, String), Arc<AsyncMutex<bool>>>;
    static LOCKS: Mutex<Locks> = Mutex::new(Locks::new());
    LOCKS.lock().entry((engine, image.to_owned())).or_default().clone()
}

async fn pull_it(client: &Client, image: &str, reference: &Reference, on_pull: Option<OnPull>) -> Result<()> {
    let options = CreateImageOptions {
        from_image: Some(reference.name.clone()),
        tag: Some(reference.version.clone()),
        ..Default::default()
    };
    let mut teller = Teller::new(image, on_pull);
    let mut told = client.create_image(Some(options), None, None);
    while let Some(told) = told.next().await {
        match told {
            Ok(told) => teller.hear(&told),
            Err(refusal) => {
                teller.end(false);
                return Err(not_pulled(image, &refusal));
            }
        }
    }
    teller.end(true);
    Ok(())
}

/// What engines say, in small letters, when they do not reach a registry.
const UNREACHED: [&str; 8] = [
    "connection refused",
    "connection reset",
    "deadline exceeded",
    "no such host",
    "server misbehaving",
    "temporary failure in name resolution",
    "timeout",
    "unreachable",
];

fn not_pulled(image: &str, refusal: &Refusal) -> Error {
    let said = words(refusal);
    let small = said.to_ascii_lowercase();
    let next = if UNREACHED.iter().any(|words| small.contains(words)) {
        "check the network, and the registry's name. Without a network: `docker save` it where it is, and `docker load` \
         it here"
            .to_owned()
    } else {
        format!(
            "check the image's name and tag. If it is private: `docker pull {image}` by hand, since the credentials of \
             `docker login` are not read here"
        )
    };
    let reason = format!("{said}\nnext: {next}");
    Error::docker(&format!("pull the image {image}"), reason, status_of(refusal))
}
