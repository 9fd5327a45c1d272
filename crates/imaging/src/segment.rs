//! Cuts a garment out of its picture: by rules if the background is plain, otherwise by a network or a service.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

use super::network::Network;
use super::pool::PixelPool;
use super::remove::{self, Reason, Removal};
use super::{Error, Picture, Result};

/// Longest side of a picture that is segmented, in pixels, and so of the result.
pub const LONGEST_SIDE: u32 = 1536;

/// Method of removing the background.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum CutoutMode {
    /// The segmentation service, if configured. Otherwise the rules if they are sure, and the network for all others.
    #[default]
    Auto,
    /// Only the rules for plain backgrounds.
    Plain,
    /// The network alone.
    Network,
    /// The background stays.
    None,
}

impl CutoutMode {
    /// Every mode.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Plain, Self::Network, Self::None];

    /// Returns the name in requests and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Network => "network",
            Self::None => "none",
        }
    }
}

/// The text is not the name of a [`CutoutMode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, plain, network or none")]
pub struct UnknownMode;

impl FromStr for CutoutMode {
    type Err = UnknownMode;

    fn from_str(text: &str) -> std::result::Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or(UnknownMode)
    }
}

/// Options of a cut-out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CutoutOptions {
    /// Method of removing the background.
    pub mode: CutoutMode,
    /// Minimum confidence of the network, 0 to 1; below it the background is kept.
    pub threshold: f32,
}

impl CutoutOptions {
    /// The usual threshold.
    pub const THRESHOLD: f32 = 0.8;
}

impl Default for CutoutOptions {
    fn default() -> Self {
        CutoutMode::default().into()
    }
}

impl From<CutoutMode> for CutoutOptions {
    fn from(mode: CutoutMode) -> Self {
        Self { mode, threshold: Self::THRESHOLD }
    }
}

/// A remover of backgrounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remover {
    /// The rules for plain backgrounds.
    Plain,
    /// The network.
    Network,
    /// The segmentation service.
    Service,
}

impl Remover {
    /// Returns the name in logs and answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Network => "network",
            Self::Service => "service",
        }
    }
}

impl fmt::Display for Remover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Result of removing a background.
#[derive(Debug, Clone, PartialEq)]
pub struct CutOut {
    /// The picture, transparent where its background was removed.
    pub picture: Picture,
    /// The remover that made the final decision; `None` if none was used.
    pub by: Option<Remover>,
    /// The network's confidence in its cut, 0 to 1, whether accepted or not.
    pub confidence: Option<f32>,
    /// Reason for keeping the background, if it was kept.
    pub kept_whole: Option<Reason>,
}

impl CutOut {
    /// Creates the result of a removal by `by`.
    pub fn new(removal: Removal, by: Remover, confidence: Option<f32>) -> Self {
        let (picture, kept_whole) = match removal {
            Removal::Cut { picture, .. } => (picture, None),
            Removal::KeptWhole { picture, reason } => (picture, Some(reason)),
        };
        Self { picture, by: Some(by), confidence, kept_whole }
    }

    /// Creates the result for a picture whose background was to be kept.
    fn as_asked(picture: Picture) -> Self {
        Self { picture, by: None, confidence: None, kept_whole: Some(Reason::AsAsked) }
    }
}

/// Removes backgrounds.
#[async_trait]
pub trait Segmenter: Send + Sync {
    /// Returns the name in logs and readiness checks.
    fn name(&self) -> &str;

    /// Whether [`CutoutMode::Network`] is available.
    fn has_network(&self) -> bool;

    /// Removes the background of a picture, whose longest side is at most [`LONGEST_SIDE`] pixels.
    ///
    /// # Errors
    /// [`NoNetwork`](super::Error::NoNetwork) when the network is requested but not installed,
    /// [`Segmentation`](super::Error::Segmentation) with a cause that callers can read, and those of
    /// [`PixelPool::run`].
    async fn cut_out(&self, picture: Picture, options: CutoutOptions) -> Result<CutOut>;
}

/// The built-in removers: rules for plain backgrounds, and a network if its file is installed.
pub struct BuiltIn {
    pool: Arc<PixelPool>,
    network: Option<Arc<Network>>,
    /// Lets the network process one picture at a time, which bounds its memory and leaves threads of the pool to other
    /// pictures.
    turns: Arc<Semaphore>,
}

impl BuiltIn {
    /// Creates removers that work on the threads of `pool`.
    pub fn new(pool: Arc<PixelPool>, network: Option<Network>) -> Self {
        Self { pool, network: network.map(Arc::new), turns: Arc::new(Semaphore::new(1)) }
    }

    async fn by_rules(&self, picture: Picture, rules: fn(Picture) -> Removal) -> Result<CutOut> {
        self.pool.run(move || Ok(CutOut::new(rules(picture), Remover::Plain, None))).await
    }

    async fn by_network(&self, network: Arc<Network>, picture: Picture, threshold: f32) -> Result<CutOut> {
        let turn = self.turns.clone().acquire_owned().await.map_err(|_| Error::Broken)?;
        let work = move || {
            // Held until the work is done, even if the caller was cancelled.
            let _turn = turn;
            let found = remove::remove_by_network(picture, &network, threshold).map_err(Error::Segmentation)?;
            Ok(CutOut::new(found.removal, Remover::Network, found.confidence))
        };
        self.pool.run(work).await
    }
}

#[async_trait]
impl Segmenter for BuiltIn {
    fn name(&self) -> &str {
        if self.has_network() { "network" } else { "builtin" }
    }

    fn has_network(&self) -> bool {
        self.network.is_some()
    }

    async fn cut_out(&self, picture: Picture, options: CutoutOptions) -> Result<CutOut> {
        let CutoutOptions { mode, threshold } = options;
        match (mode, self.network.clone()) {
            (CutoutMode::None, _) => Ok(CutOut::as_asked(picture)),
            (CutoutMode::Network, None) => Err(Error::NoNetwork),
            (CutoutMode::Network, Some(network)) => self.by_network(network, picture, threshold).await,
            (CutoutMode::Plain, _) | (CutoutMode::Auto, None) => {
                self.by_rules(picture, remove::remove_background).await
            }
            (CutoutMode::Auto, Some(network)) => {
                let cut = self.by_rules(picture, remove::remove_surely_plain).await?;
                if cut.kept_whole.is_none_or(Reason::is_final) {
                    return Ok(cut);
                }
                self.by_network(network, cut.picture, threshold).await
            }
        }
    }
}
