//! What the server itself is asked: only containers are.

use super::Scene;
use super::attempt::{Answer, Attempts};
use crate::node::launch::Question;

impl Question {
    pub(super) async fn look(&self, attempts: &mut Attempts, scene: &Scene<'_>) -> Answer {
        let Some(server) = scene.server else { return Err("nothing has been started".to_owned()) };
        let answer = attempts.look(scene.left, || server.ask(self)).await;
        answer.unwrap_or_else(|| Err("the engine has not answered yet".to_owned()))
    }
}
