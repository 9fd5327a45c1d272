//! Export of whole documents to a file that can be imported again.

use std::io::{self, Write};

use serde_json::{Map, Value};
use tracing::warn;

use super::{Error, Format, RecordKind, column_names, table};
use crate::data;
use crate::model::ids::UserId;
use crate::store::{DocumentStore, Key, Query, Stored};

/// Documents per page.
const PAGE: usize = 500;

/// Report of an export.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Number of documents.
    pub rows: u64,
    /// Values omitted from the table because their type does not match the column.
    pub lost_values: u64,
}

/// Writes the user's documents of these kinds to `out`, page by page.
///
/// # Errors
/// When the store or `out` fails, and for a table of anything but wardrobe items.
pub async fn export(
    store: &dyn DocumentStore,
    user: &UserId,
    kinds: &[RecordKind],
    format: Format,
    out: impl Write + Send,
) -> Result<Exported, Error> {
    if format == Format::Csv && kinds != [RecordKind::Wardrobe] {
        return Err(Error::NoTable);
    }
    let mut sheet = Sheet::new(format, out)?;
    for kind in kinds {
        let container = kind.container();
        if *kind == RecordKind::Profile {
            let profile = store.read(&Key::by_id(container, user.as_str())).await.map_err(data::Error::from)?;
            profile.iter().try_for_each(|profile| sheet.add(profile))?;
            continue;
        }
        let mut query = Query::partition(container, user.as_str()).limit(PAGE);
        loop {
            let page = store.query(&query).await.map_err(data::Error::from)?;
            page.documents.iter().try_for_each(|document| sheet.add(document))?;
            if page.next.is_none() {
                break;
            }
            query = query.after(page.next);
        }
    }
    Ok(sheet.finish()?)
}

/// A file being written.
struct Sheet<W: Write> {
    form: Form<W>,
    exported: Exported,
}

enum Form<W: Write> {
    List(W),
    Lines(W),
    Table(Box<csv::Writer<W>>),
}

impl<W: Write> Sheet<W> {
    fn new(format: Format, mut out: W) -> io::Result<Self> {
        let form = match format {
            Format::Json => {
                out.write_all(b"[")?;
                Form::List(out)
            }
            Format::Lines => Form::Lines(out),
            Format::Csv => {
                let mut table = Box::new(csv::Writer::from_writer(out));
                table.write_record(column_names())?;
                Form::Table(table)
            }
        };
        Ok(Self { form, exported: Exported::default() })
    }

    fn add(&mut self, document: &Stored) -> io::Result<()> {
        let Ok(fields) = document.parse::<Map<String, Value>>() else {
            warn!("document skipped: it is not an object");
            return Ok(());
        };
        match &mut self.form {
            Form::List(out) => {
                out.write_all(if self.exported.rows == 0 { b"\n" } else { b",\n" })?;
                serde_json::to_writer(out, &fields)?;
            }
            Form::Lines(out) => {
                serde_json::to_writer(&mut *out, &fields)?;
                out.write_all(b"\n")?;
            }
            Form::Table(table) => {
                let (cells, lost) = table::record(&fields);
                table.write_record(cells)?;
                self.exported.lost_values += lost as u64;
            }
        }
        self.exported.rows += 1;
        Ok(())
    }

    fn finish(self) -> io::Result<Exported> {
        match self.form {
            Form::List(mut out) => {
                out.write_all(if self.exported.rows == 0 { b"]\n" } else { b"\n]\n" })?;
                out.flush()?;
            }
            Form::Lines(mut out) => out.flush()?,
            Form::Table(mut table) => table.flush()?,
        }
        Ok(self.exported)
    }
}
