//! `pluckit process-image`: removes the backgrounds of local pictures, as the service does with uploads.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use futures::stream::{self, StreamExt};
use indicatif::{ProgressBar, ProgressStyle};
use tempfile::NamedTempFile;

use super::block_on;
use super::output::{is_terminal, output, styled, tell};
use crate::app;
use crate::base::chain::Chain;
use crate::config::read_cutout_model;
use crate::imaging::decode::Limits;
use crate::imaging::pipeline::{Pipeline, Processed};
use crate::imaging::pool::PixelPool;
use crate::imaging::segment::{BuiltIn, CutoutMode, CutoutOptions, Segmenter};

/// File extensions that would be wrong for the result, which is always WebP.
const OTHER_FORMATS: [&str; 9] = ["png", "jpg", "jpeg", "gif", "bmp", "tif", "tiff", "heic", "avif"];

/// Output path that means standard output; a file of that name is `./-`.
const STANDARD_OUTPUT: &str = "-";

/// Flags of `process-image`.
#[derive(Args)]
pub struct Arguments {
    /// Pictures: JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Output file, - for standard output, or directory for NAME.webp of each picture; created if needed
    #[arg(long, short, value_name = "OUT.webp|DIR")]
    output: PathBuf,
    /// Overwrite existing files
    #[arg(long)]
    force: bool,
    /// How to remove the background: auto, plain (rules), network (CUTOUT_MODEL) or none
    #[arg(long, value_name = "MODE", default_value = CutoutMode::default().name())]
    cutout: CutoutMode,
    /// Minimum confidence of the network, 0 to 1; below it the background is kept
    #[arg(long, value_name = "SHARE", default_value_t = CutoutOptions::THRESHOLD, value_parser = parse_share)]
    threshold: f32,
}

fn parse_share(text: &str) -> Result<f32, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1".to_owned())
}

/// A picture to process: input and output path.
struct Order {
    source: PathBuf,
    target: PathBuf,
}

impl Order {
    fn is_for_standard_output(&self) -> bool {
        self.target == Path::new(STANDARD_OUTPUT)
    }
}

/// Processes all pictures, prints the outcome of each, and fails if any of them failed.
pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let orders = orders(&arguments.files, &arguments.output)?;
    let total = orders.len();
    let (setting, data_directory) = read_cutout_model();
    let model = app::cutout_model(&setting, &data_directory);
    let pool = Arc::new(PixelPool::default());
    let removers = app::open_removers(model.as_deref(), &pool)?;
    if arguments.cutout == CutoutMode::Network && !removers.has_network() {
        bail!(
            "the background-removal network is not installed: download it with scripts/fetch-models, or name its file in \
             CUTOUT_MODEL"
        );
    }
    let options = CutoutOptions { mode: arguments.cutout, threshold: arguments.threshold };
    let failed = block_on(process(orders, arguments.force, pool, removers, options))?;
    match failed {
        0 => Ok(()),
        _ if total == 1 => bail!("the picture was not processed"),
        _ => bail!("{failed} of {total} pictures were not processed"),
    }
}

/// Determines the output path of each picture: the one named file, or a file in a directory.
fn orders(files: &[PathBuf], output: &Path) -> anyhow::Result<Vec<Order>> {
    if output == Path::new(STANDARD_OUTPUT) {
        match files {
            [_, _, ..] => bail!("standard output takes one picture: name a directory for several"),
            _ if is_terminal() => bail!("standard output is a terminal: name a file"),
            _ => {}
        }
        return Ok(vec![Order { source: files[0].clone(), target: output.to_owned() }]);
    }
    let is_directory = files.len() > 1 || output.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/");
    if !is_directory {
        let extension = output.extension().map(OsStr::to_ascii_lowercase);
        if extension.is_some_and(|extension| OTHER_FORMATS.into_iter().any(|other| extension == other)) {
            bail!("the result is a WebP file: name it {}", output.with_extension("webp").display());
        }
        return Ok(vec![Order { source: files[0].clone(), target: output.to_owned() }]);
    }
    fs::create_dir_all(output).with_context(|| format!("the directory {} cannot be created", output.display()))?;
    let mut targets = HashSet::new();
    let orders = files.iter().map(|source| {
        let stem = source.file_stem().with_context(|| format!("{} is not the name of a file", source.display()))?;
        let mut name = stem.to_owned();
        name.push(".webp");
        let target = output.join(name);
        if !targets.insert(target.clone()) {
            bail!("two pictures would be written to {}: process them separately", target.display());
        }
        Ok(Order { source: source.clone(), target })
    });
    orders.collect()
}

/// Processes pictures concurrently; returns how many failed.
async fn process(
    orders: Vec<Order>,
    force: bool,
    pool: Arc<PixelPool>,
    removers: BuiltIn,
    options: CutoutOptions,
) -> anyhow::Result<usize> {
    // Files are read and written while others are being processed.
    let at_once = 2 * pool.threads();
    let limits = Limits::default();
    let pipeline = &Pipeline::new(pool, Arc::new(removers), limits.clone());
    let bar = progress(orders.len());
    let (mut failed, limits) = (0, &limits);
    let mut results = stream::iter(orders)
        .map(|order| async move {
            let outcome = process_one(pipeline, limits, &order, force, options).await;
            (order, outcome)
        })
        .buffered(at_once);
    while let Some((order, outcome)) = results.next().await {
        bar.inc(1);
        bar.suspend(|| match outcome {
            Ok(processed) => report(&order, &processed),
            Err(error) => {
                failed += 1;
                tell(&format!("{}: {error:#}", order.source.display()));
                Ok(())
            }
        })?;
    }
    bar.finish_and_clear();
    Ok(failed)
}

/// Creates a progress bar if there are several pictures and standard error is a terminal.
fn progress(pictures: usize) -> ProgressBar {
    if pictures < 2 {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:30} {pos} of {len}, {eta} left");
    ProgressBar::new(pictures as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn report(order: &Order, processed: &Processed) -> io::Result<()> {
    let Processed { webp, width, height, transparent_share, by, confidence, kept_whole } = processed;
    let what = match kept_whole {
        Some(reason) => format!("kept whole: {reason}"),
        None => format!("background removed, {:.0} % of the picture", transparent_share * 100.0),
    };
    let by = by.map(|by| format!(", by {by}")).unwrap_or_default();
    let confidence = confidence.map(|confidence| format!(", confidence {confidence:.2}")).unwrap_or_default();
    let (source, target) = (order.source.display(), order.target.display());
    let kilobytes = webp.len().div_ceil(1000);
    let line = format!("{source} -> {target}  {width} × {height}, {kilobytes} kB, {what}{by}{confidence}");
    if order.is_for_standard_output() {
        // It has the picture.
        tell(&line);
        return Ok(());
    }
    writeln!(output(), "{line}")
}

async fn process_one(
    pipeline: &Pipeline,
    limits: &Limits,
    order: &Order,
    force: bool,
    options: CutoutOptions,
) -> anyhow::Result<Processed> {
    if !force && !order.is_for_standard_output() && order.target.exists() {
        bail!(exists(&order.target));
    }
    // Check the size before reading, so that a video among the pictures does not fill the memory.
    let size = tokio::fs::metadata(&order.source).await.context("it cannot be read")?.len();
    limits.check_file(usize::try_from(size).unwrap_or(usize::MAX))?;
    let bytes = tokio::fs::read(&order.source).await.context("it cannot be read")?;
    let processed = pipeline.process(bytes.into(), options).await;
    let processed = processed.map_err(|error| anyhow::anyhow!("{}", Chain(&error)))?;
    let (target, webp) = (order.target.clone(), processed.webp.clone());
    if order.is_for_standard_output() {
        let mut output = styled();
        output.write_all(&webp).and_then(|()| output.flush())?;
        return Ok(processed);
    }
    tokio::task::spawn_blocking(move || write(&target, &webp, force)).await??;
    Ok(processed)
}

fn exists(target: &Path) -> String {
    format!("{} exists already; --force replaces it", target.display())
}

/// Writes a temporary file beside the target and renames it, so that the target is never partial.
fn write(target: &Path, bytes: &Bytes, force: bool) -> anyhow::Result<()> {
    let cannot = || format!("{} cannot be written", target.display());
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Subject to the process's umask, as for any other file.
    let permissions = Permissions::from_mode(0o666);
    let mut file: NamedTempFile = tempfile::Builder::new()
        .prefix(".pluckit-")
        .suffix(".tmp")
        .permissions(permissions)
        .tempfile_in(directory)
        .with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.as_file().sync_all().with_context(cannot)?;
    let persisted = if force { file.persist(target) } else { file.persist_noclobber(target) };
    match persisted {
        Ok(_) => Ok(()),
        Err(refused) if !force && refused.error.kind() == ErrorKind::AlreadyExists => bail!(exists(target)),
        Err(refused) => Err(refused.error).with_context(cannot),
    }
}
