//! Checks of the model server and of cut-outs.

use super::Report;
use crate::app;
use crate::base::chain::Chain;
use crate::config::Config;
use crate::imaging::Picture;
use crate::imaging::picture::Layout;
use crate::imaging::segment::{CutoutMode, Segmenter};
use crate::llm::{CallContext, ChatRequest, EMBEDDING_DIMENSIONS, Message, Model, Purpose};

pub(super) const FIX_MODEL: &str = "check the settings of the model server";
pub(super) const FIX_CUTOUTS: &str = "check CUTOUT_MODEL, or download the file again with scripts/fetch-models";

/// Requests a short answer from each deployment, which costs a few tokens.
pub(super) async fn chat(config: &Config, model: &dyn Model) -> Vec<Report> {
    if config.model.is_none() {
        return Report::skipped("the built-in offline model answers");
    }
    let mut reports = Vec::new();
    for (purpose, setting) in [
        (Purpose::Stylist, "DEPLOYMENT or OPENAI_MODEL"),
        (Purpose::ExpandQuery, "NANO_DEPLOYMENT or OPENAI_NANO_MODEL"),
    ] {
        let name = model.name(purpose).to_owned();
        let request = ChatRequest {
            purpose,
            messages: vec![Message::User("Answer with the word ok.".to_owned())],
            tools: [].into(),
            max_tokens: Some(16),
        };
        reports.extend(match model.complete(&CallContext::service(), request).await {
            Ok(_) => Report::good(format!("{name} answers")),
            Err(error) => Report::fault(
                format!("{name}: {}", Chain(&error)),
                format!("check the endpoint, the key or role, and AZURE_OPENAI_{setting}"),
            ),
        });
    }
    reports
}

pub(super) async fn embeddings(config: &Config, model: &dyn Model) -> Vec<Report> {
    if config.model.is_none() {
        return Report::skipped("the built-in offline model answers");
    }
    match model.embed(&CallContext::service(), &["linen shirt".to_owned()]).await {
        Ok(vectors) if vectors.first().is_some_and(|vector| vector.len() == EMBEDDING_DIMENSIONS) => {
            Report::good(format!("vectors of {EMBEDDING_DIMENSIONS} numbers"))
        }
        Ok(_) => Report::fault(
            "vectors of another length",
            format!("choose a model whose vectors have {EMBEDDING_DIMENSIONS} numbers, as the indexes of the database"),
        ),
        Err(error) => Report::fault(
            Chain(&error).to_string(),
            "check AZURE_OPENAI_EMBEDDING_DEPLOYMENT or OPENAI_EMBEDDING_MODEL",
        ),
    }
}

pub(super) async fn segmentation(config: &Config, http: &reqwest::Client) -> Vec<Report> {
    let Some(service) = &config.media.segmentation else {
        return Report::skipped("no service is set; the built-in removers are used");
    };
    // Any answer shows that the service is reachable; a picture would cause load.
    match http.head(service.endpoint.clone()).send().await {
        Ok(_) => Report::good("the segmentation service answers"),
        Err(error) => {
            Report::fault(Chain(&error.without_url()).to_string(), "check SEGMENTATION_ENDPOINT_URL and its network")
        }
    }
}

/// Runs the background-removal network once, if installed.
pub(super) async fn cutouts(config: &Config, segmenter: &dyn Segmenter) -> Vec<Report> {
    let Some(file) =
        app::cutout_model(&config.media.cutout_model, &config.data_directory).filter(|_| segmenter.has_network())
    else {
        return Report::skipped("rules for plain backgrounds only; scripts/fetch-models downloads the network");
    };
    let side = 64;
    let grey = vec![128; 3 * side as usize * side as usize];
    let picture = Picture::new(side, side, Layout::Rgb, grey).expect("it has as many bytes as its size says");
    match segmenter.cut_out(picture, CutoutMode::Network.into()).await {
        Ok(_) => Report::good(format!("rules for plain backgrounds; the network {} works", file.display())),
        Err(error) => Report::fault(Chain(&error).to_string(), "download it again with scripts/fetch-models"),
    }
}
