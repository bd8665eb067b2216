//! Images that the engine does not have are pulled: from a registry of the test.

use std::sync::Arc;

use anyhow::{Result, ensure};
use bollard::query_parameters::RemoveImageOptions;
use heldport::docker::{Docker, Pull, PullProgress};
use libtest_mimic::Trial;
use parking_lot::Mutex;

use crate::registry::Registry;
use crate::smoke::image_of_its_own;
use crate::support::PATIENCE;
use crate::{Outcome, client, test};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        test("a_missing_image_is_pulled_once_for_all_who_need_it", pulled_once),
        test("a_pull_goes_on_when_its_test_is_cancelled", cancelled),
        test("an_image_that_cannot_be_had_is_an_error_with_a_next_step", refused),
    ]
}

/// Is not on the engine any more when dropped.
struct Pulled(bollard::Docker, String);

impl Drop for Pulled {
    fn drop(&mut self) {
        let (client, image) = (self.0.clone(), self.1.clone());
        client::in_any_case(async move {
            client.remove_image(&image, None::<RemoveImageOptions>, None).await?;
            Ok(())
        });
    }
}

async fn pulled_once() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let registry = Registry::start(image_of_its_own()?)?;
    let image = registry.image();
    registry.shut();
    let told = Arc::new(Mutex::new(vec![Vec::<PullProgress>::new(); 4]));
    let needs_it = |number: usize| {
        let (docker, image, told) = (docker.clone(), image.clone(), told.clone());
        let on_pull = move |progress: &PullProgress| told.lock()[number].push(progress.clone());
        tokio::spawn(async move { docker.provide(&image, Pull::Missing, on_pull).await })
    };
    let mut waiting = vec![needs_it(0)];
    registry.await_half().await?;
    waiting.extend((1..4).map(needs_it));
    // Asked after the others: when it is answered, they have seen that the image is not there.
    for _ in 0..3 {
        ensure!(docker.provide(&image, Pull::Never, |_| {}).await.is_err(), "half of it is not there");
    }
    registry.open();
    let _pulled = Pulled(client.clone(), image.clone());
    for provided in waiting {
        provided.await??;
    }
    client.inspect_image(&image).await?;
    let told = told.lock().clone();
    let by_one: Vec<_> = told.iter().filter(|told| !told.is_empty()).collect();
    ensure!(by_one.len() == 1, "{} pulls", by_one.len());
    let last = by_one[0].last().expect("not empty");
    ensure!(last.layers == 1 && last.layers_done == 1 && last.image == image, "{last:?}");
    ensure!(last.bytes > 0 && last.bytes_done == last.bytes, "{last:?}");
    docker.provide(&image, Pull::Never, |_| panic!("it is there")).await?;
    Ok(())
}

async fn cancelled() -> Outcome {
    let (docker, client) = (Docker::connect().await?, client::engine().await?);
    let registry = Registry::start(image_of_its_own()?)?;
    let image = registry.image();
    registry.shut();
    let pull = tokio::spawn({
        let image = image.clone();
        let docker = docker.clone();
        async move { docker.provide(&image, Pull::Missing, |_| {}).await }
    });
    registry.await_half().await?;
    pull.abort();
    ensure!(pull.await.is_err_and(|e| e.is_cancelled()));
    registry.open();
    let _pulled = Pulled(client.clone(), image.clone());
    // Waits for the pull that goes on.
    let again = docker.provide(&image, Pull::Missing, |_| panic!("a second pull"));
    tokio::time::timeout(PATIENCE, again).await??;
    Ok(())
}

async fn refused() -> Outcome {
    let docker = Docker::connect().await?;
    let registry = Registry::start(image_of_its_own()?)?;
    let told = async |image: &str, pull| -> Result<String> {
        let error = docker.provide(image, pull, |_| {}).await.err();
        Ok(error.ok_or_else(|| anyhow::anyhow!("{image} was provided"))?.to_string())
    };
    for image in [registry.missing(), registry.forbidden()] {
        let told = told(&image, Pull::Missing).await?;
        ensure!(told.contains(&image) && told.contains("\nnext: check the image's name and tag"), "{told}");
        ensure!(told.contains("docker login"), "{told}");
    }
    let never = told(&registry.image(), Pull::Never).await?;
    ensure!(never.contains("not to be pulled") && never.contains("next: "), "{never}");
    let gone = registry.image();
    drop(registry);
    let offline = told(&gone, Pull::Missing).await?;
    ensure!(
        offline.contains("connection refused") && offline.contains("\nnext: check the network"),
        "{offline}"
    );
    let misspelt = told("Redis", Pull::Missing).await?;
    ensure!(misspelt.contains("small letters"), "{misspelt}");
    Ok(())
}
