//! A stylist whose answers depend only on the seed and the question, and are streamed slowly.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use pluckit::llm::{
    self, CallContext, ChatRequest, EMBEDDING_DIMENSIONS, Message, Model, Part, PartStream, Payer, Purpose, Reply,
    ToolCall, Usage,
};
use serde_json::json;

use crate::checks;
use crate::dice::Dice;
use crate::seams::Link;
use crate::world::World;

/// The model as one instance sees it.
pub struct Stylist(pub Link);

/// One answer of the model.
struct Answer {
    pieces: Vec<String>,
    tool: Option<ToolCall>,
    usage: Usage,
}

/// Returns the answer to a question after this many steps of the turn.
fn answer(seed: u64, question: &str, step: usize) -> Answer {
    let mut dice = Dice::new(seed, &format!("answer to {question}, step {step}"));
    let pieces = (0..dice.between(2, 8)).map(|piece| format!("{question}.{step}.{piece} ")).collect::<Vec<_>>();
    let tool = (step == 0 && dice.chance(300)).then(|| ToolCall {
        id: "call".to_owned(),
        name: "remember_preference".to_owned(),
        arguments: json!({ "text": format!("colour {question}"), "kind": "like" }).to_string(),
    });
    let usage = Usage { input_tokens: 600, output_tokens: 40 * pieces.len() as u64 };
    Answer { pieces, tool, usage }
}

/// Returns the whole answer to a question, including tools.
pub fn whole_answer(seed: u64, question: &str) -> String {
    let mut text = String::new();
    for step in 0.. {
        let Answer { pieces, tool, .. } = answer(seed, question, step);
        text.extend(pieces);
        if tool.is_none() {
            break;
        }
    }
    text
}

fn payer(context: &CallContext) -> String {
    match &context.payer {
        Payer::User(user) => user.to_string(),
        Payer::Service => "service".to_owned(),
    }
}

#[async_trait]
impl Model for Stylist {
    fn name(&self, _purpose: Purpose) -> &str {
        "simulated"
    }

    async fn stream(&self, context: &CallContext, request: ChatRequest) -> llm::Result<PartStream> {
        let question = request.messages.iter().rev().find_map(Message::user_text).unwrap_or_default().to_owned();
        let step = request.messages.iter().filter(|message| matches!(message, Message::Tool { .. })).count();
        let user = payer(context);
        let link = self.0.clone();
        let what = format!("model.stream {question:?}, step {step}");
        let world = link.world.clone();
        let payer = user.clone();
        let admit = move || {
            checks::model_called(&world, &payer);
            Ok(())
        };
        link.call("model", what, llm::Error::Unavailable, admit).await?;
        let at_work = checks::begin_work(&link.world, &link.life, format!("the turn {question:?}"));
        let Answer { pieces, tool, usage } = answer(link.world.seed, &question, step);
        let parts = pieces.into_iter().map(Part::Text).chain(tool.map(Part::ToolCall)).chain([Part::Usage(usage)]);
        let dice = link.world.dice(&format!("pace of {question}, {step}, {}", link.life.name));
        let state = (link, user, dice, parts.collect::<Vec<_>>().into_iter(), at_work);
        let parts = stream::unfold(state, |(link, user, mut dice, mut parts, at_work)| async move {
            tokio::time::sleep(dice.pause(20, 900)).await;
            link.life.goes_on().await;
            let part = parts.next()?;
            at_work.goes_on();
            if let Part::Usage(usage) = &part {
                checks::model_answered(&link.world, &user, usage.input_tokens + usage.output_tokens);
            }
            Some((Ok(part), (link, user, dice, parts, at_work)))
        });
        Ok(parts.boxed())
    }

    async fn complete(&self, context: &CallContext, request: ChatRequest) -> llm::Result<Reply> {
        let (world, user) = (self.0.world.clone(), payer(context));
        let usage = Usage { input_tokens: 100, output_tokens: 10 };
        let effect = move || {
            checks::model_called(&world, &user);
            checks::model_answered(&world, &user, usage.input_tokens + usage.output_tokens);
            Ok(Reply { text: "A sentence.".to_owned(), tool_calls: Vec::new(), usage: Some(usage) })
        };
        self.0
            .call("model", format!("model.complete {}", request.purpose.name()), llm::Error::Unavailable, effect)
            .await
    }

    async fn embed(&self, _context: &CallContext, texts: &[String]) -> llm::Result<Vec<Vec<f32>>> {
        let mut vector = vec![0.0; EMBEDDING_DIMENSIONS];
        vector[0] = 1.0;
        Ok(vec![vector; texts.len()])
    }

    async fn ping(&self) -> llm::Result<()> {
        Ok(())
    }
}

/// Creates the model of an instance.
pub fn model(link: Link) -> Arc<dyn Model> {
    Arc::new(Stylist(link))
}

/// Returns the expected answer to a question.
pub fn expected(world: &World, question: &str) -> String {
    whole_answer(world.seed, question)
}
