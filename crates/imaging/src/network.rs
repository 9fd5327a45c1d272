//! The neural network that finds a garment in a picture: U²-Net-p, 1.1 million weights, run by `rten`.
//!
//! Its file is not embedded in the binary (`scripts/fetch-models`). Only the file with the known hash is accepted: it
//! is checked when the service starts, and loaded when the first picture needs it, so that a service without pictures
//! does not use memory for it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rten::{Model, ModelOptions, NodeId, RunOptions, ThreadPool, Value, op_registry};
use sha2::{Digest, Sha256};

use super::pool::give_way;
use super::{Cause, Picture, transform};

/// Name of the model's file.
pub const FILE_NAME: &str = "u2netp.onnx";
/// SHA-256 of the model's file.
const SHA256: &str = "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8";
/// Size of the model's file, in bytes.
const FILE_BYTES: u64 = 4_574_861;
/// Sides of the network's input picture, in pixels.
pub(super) const SIDE: u32 = 320;
/// Mean and standard deviation of red, green and blue in the network's training.
const CHANNELS: [(f32, f32); 3] = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)];

/// Why a model's file is rejected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// Path of the model file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file is damaged or another model.
    #[error(
        "{} is damaged or is not u2netp.onnx ({found}): download the model with scripts/fetch-models",
        .path.display()
    )]
    Foreign {
        /// Path of the model file.
        path: PathBuf,
        /// Size or hash of the file.
        found: String,
    },
}

/// The network. It runs on a single dedicated thread, because each further thread would take 60 MiB.
pub struct Network {
    path: PathBuf,
    loaded: Mutex<Option<Arc<Loaded>>>,
}

/// The network's output for a picture: for each of [`SIDE`] × [`SIDE`] points, the confidence that it belongs to the
/// garment.
pub(super) struct Saliency(Vec<f32>);

impl Saliency {
    /// Returns the values from 0 to 1, row by row.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// Creates a map from values.
    #[cfg(test)]
    pub fn from_values(values: Vec<f32>) -> Self {
        assert_eq!(values.len(), (SIDE * SIDE) as usize);
        Self(values)
    }
}

struct Loaded {
    model: Model,
    input: NodeId,
    output: NodeId,
    thread: Arc<ThreadPool>,
}

impl Network {
    /// Opens the network in this file, which is checked now and loaded when needed.
    ///
    /// # Errors
    /// When the file cannot be read or has an unknown hash.
    pub fn open(path: &Path) -> Result<Self, Error> {
        read(path)?;
        Ok(Self { path: path.to_owned(), loaded: Mutex::new(None) })
    }

    /// Path of the model's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn load(&self) -> Result<Arc<Loaded>, Cause> {
        let mut loaded = self.loaded.lock();
        if let Some(loaded) = &*loaded {
            return Ok(loaded.clone());
        }
        // Checked again, because the file may have been replaced.
        let new = Arc::new(Loaded::new(read(&self.path)?)?);
        *loaded = Some(new.clone());
        Ok(new)
    }

    /// Finds the garment in a picture. Blocks for about half a second on one core.
    pub(super) fn find(&self, picture: &Picture) -> Result<Saliency, Cause> {
        self.load()?.find(picture)
    }
}

impl Loaded {
    fn new(file: Vec<u8>) -> Result<Self, Cause> {
        // Only the operators of this model; all others are not linked.
        let operators =
            op_registry!(Add, Cast, Concat, Conv, Gather, MaxPool, Relu, Resize, Shape, Sigmoid, Slice, Unsqueeze);
        let model = ModelOptions::with_ops(operators).load(file)?;
        let (Some(&input), Some(&output)) = (model.input_ids().first(), model.output_ids().first()) else {
            return Err("the model has no input or no output".into());
        };
        let thread = Arc::new(ThreadPool::with_num_threads(1));
        thread.run(give_way);
        Ok(Self { model, input, output, thread })
    }

    fn find(&self, picture: &Picture) -> Result<Saliency, Cause> {
        let side = SIDE as usize;
        let input = Value::from_shape([1, CHANNELS.len(), side, side], normalised(picture))?;
        let [output] = self.model.run_n(vec![(self.input, input.into())], [self.output], self.options())?;
        let (_, values) = output.into_shape_vec::<f32, 4>()?;
        if values.len() != side * side {
            return Err("the output of the model has the wrong size".into());
        }
        let (least, most) =
            values.iter().fold((f32::MAX, f32::MIN), |(least, most), value| (least.min(*value), most.max(*value)));
        let range = (most - least).max(1e-6);
        Ok(Saliency(values.into_iter().map(|value| (value - least) / range).collect()))
    }

    fn options(&self) -> Option<RunOptions> {
        Some(RunOptions::default().with_thread_pool(Some(self.thread.clone())))
    }
}

/// Converts a picture to the network's input: scaled to a square, normalised to a maximum of 1, channel by channel.
fn normalised(picture: &Picture) -> Vec<f32> {
    let small = transform::stretched(picture, (SIDE, SIDE)).into_rgb();
    let brightest = f32::from(small.bytes().iter().copied().max().unwrap_or_default().max(1));
    let mut values = Vec::with_capacity(small.bytes().len());
    for (channel, (mean, deviation)) in CHANNELS.into_iter().enumerate() {
        values.extend(small.pixels().map(|pixel| (f32::from(pixel[channel]) / brightest - mean) / deviation));
    }
    values
}

/// Reads a model's file if its hash is known. A file of another size is not read.
fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let unreadable = |cause| Error::Unreadable { path: path.to_owned(), cause };
    let foreign = |found| Error::Foreign { path: path.to_owned(), found };
    // Before opening the file, which would block on a named pipe.
    let size = path.metadata().map_err(unreadable)?.len();
    if size != FILE_BYTES {
        return Err(foreign(format!("it has {size} bytes")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    File::open(path).and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes)).map_err(unreadable)?;
    let hash = format!("{:x}", Sha256::digest(&bytes));
    if hash != SHA256 { Err(foreign(format!("its SHA-256 is {hash}"))) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.onnx");
        let fault = |path: &Path| Network::open(path).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(fault(&path).ends_with("other.onnx cannot be read"), "{}", fault(&path));
        std::fs::write(&path, "short").unwrap();
        assert!(
            fault(&path).contains("other.onnx is damaged or is not u2netp.onnx (it has 5 bytes)"),
            "{}",
            fault(&path)
        );
        std::fs::write(&path, vec![0; FILE_BYTES as usize]).unwrap();
        assert!(
            fault(&path).contains("other.onnx is damaged or is not u2netp.onnx (its SHA-256 is "),
            "{}",
            fault(&path)
        );
        assert!(fault(directory.path()).contains("is damaged or is not u2netp.onnx"), "{}", fault(directory.path()));
    }

    #[test]
    fn the_brightest_value_becomes_one() {
        let picture = Picture::new(2, 1, super::super::picture::Layout::Rgb, vec![0, 50, 100, 0, 50, 100]).unwrap();
        let values = normalised(&picture);
        let of = |value: f32, channel: usize| (value - CHANNELS[channel].0) / CHANNELS[channel].1;
        let places = (SIDE * SIDE) as usize;
        assert_eq!(values.len(), 3 * places);
        for (channel, expected) in [0.0, 0.5, 1.0].into_iter().enumerate() {
            assert!((values[channel * places + 7] - of(expected, channel)).abs() < 1e-5, "{channel}");
        }
    }
}
