//! Wardrobe items as a table, both ways.
//!
//! An empty cell means: not given. Lists are separated by `;` or `|`; one that holds those characters is written as JSON,
//! as is an empty one. What no column holds (`wearEvents`, fields that this service has no name for) is not in the table,
//! and stays as it is when a table is imported.

use std::cell::Cell;
use std::io::{self, Read};
use std::rc::Rc;

use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use serde_json::{Map, Number, Value, json};

use super::check::is_hex;
use super::rows::too_long;
use super::{LONGEST_ROW, Row};

/// The columns, in the order in which they are written. Any of them may be left out of a file, in any order.
pub const COLUMNS: [&str; 25] = [
    "id",
    "category",
    "brand",
    "tags",
    "colours",
    "price",
    "currency",
    "pricePurchaseDate",
    "purchaseDate",
    "estimatedMarketValue",
    "condition",
    "sizeLetter",
    "sizeWaist",
    "sizeInseam",
    "shoeSize",
    "sizeSystem",
    "aestheticTags",
    "careInfo",
    "notes",
    "imageUrl",
    "dateAdded",
    "wearCount",
    "lastWornAt",
    "isWishlisted",
    "draftStatus",
];

/// How a cell becomes a value.
#[derive(Clone, Copy)]
enum Cells {
    Text,
    Number,
    Flag,
    List,
    Colours,
}

/// Where a column's value is in a document, and what it is.
fn place(column: &str) -> (&[&str], Cells) {
    match column {
        "tags" => (&["tags"], Cells::List),
        "aestheticTags" => (&["aestheticTags"], Cells::List),
        "careInfo" => (&["careInfo"], Cells::List),
        "colours" => (&["colours"], Cells::Colours),
        "price" => (&["price", "amount"], Cells::Number),
        "currency" => (&["price", "originalCurrency"], Cells::Text),
        "pricePurchaseDate" => (&["price", "purchaseDate"], Cells::Text),
        "estimatedMarketValue" => (&["estimatedMarketValue"], Cells::Number),
        "sizeLetter" => (&["size", "letter"], Cells::Text),
        "sizeWaist" => (&["size", "waist"], Cells::Number),
        "sizeInseam" => (&["size", "inseam"], Cells::Number),
        "shoeSize" => (&["size", "shoeSize"], Cells::Number),
        "sizeSystem" => (&["size", "system"], Cells::Text),
        "wearCount" => (&["wearCount"], Cells::Number),
        "isWishlisted" => (&["isWishlisted"], Cells::Flag),
        "id" => (&["id"], Cells::Text),
        "category" => (&["category"], Cells::Text),
        "brand" => (&["brand"], Cells::Text),
        "purchaseDate" => (&["purchaseDate"], Cells::Text),
        "condition" => (&["condition"], Cells::Text),
        "notes" => (&["notes"], Cells::Text),
        "imageUrl" => (&["imageUrl"], Cells::Text),
        "dateAdded" => (&["dateAdded"], Cells::Text),
        "lastWornAt" => (&["lastWornAt"], Cells::Text),
        "draftStatus" => (&["draftStatus"], Cells::Text),
        _ => unreachable!("every column is named here; a test goes through them"),
    }
}

/// Reads the rows of a table.
pub(super) struct Rows<R> {
    reader: csv::Reader<Bounded<R>>,
    /// Bytes that may still be read before the row must have ended.
    budget: Rc<Cell<usize>>,
    /// None before the first line was read.
    columns: Option<Vec<&'static str>>,
    ended: bool,
}

impl<R: Read> Rows<R> {
    pub(super) fn new(input: R) -> Self {
        let budget = Rc::new(Cell::new(2 * LONGEST_ROW));
        let input = Bounded { input, budget: budget.clone() };
        Self { reader: ReaderBuilder::new().has_headers(false).from_reader(input), budget, columns: None, ended: false }
    }

    fn read(&mut self) -> Option<Row> {
        loop {
            self.budget.set(2 * LONGEST_ROW);
            let mut record = ByteRecord::new();
            let line = self.reader.position().line();
            let found = match self.reader.read_byte_record(&mut record) {
                Ok(false) => return None,
                Ok(true) => self.read_record(&record),
                Err(error) => match error.kind() {
                    ErrorKind::UnequalLengths { expected_len, len, .. } => {
                        Some(Err(format!("it has {len} cells where the first line has {expected_len}")))
                    }
                    _ => {
                        self.ended = true;
                        let reason = if self.budget.get() == 0 {
                            format!("{}: is a closing quote missing? The rest of the file was not read", too_long())
                        } else {
                            format!("the rest of the file cannot be read: {error}")
                        };
                        Some(Err(reason))
                    }
                },
            };
            let line = record.position().map_or(line, csv::Position::line);
            let size = record.as_slice().len();
            match found {
                // The names of the columns, or an empty line.
                None => {}
                Some(content) => return Some(Row { line, content, size }),
            }
        }
    }

    fn read_record(&mut self, record: &ByteRecord) -> Option<Result<Value, String>> {
        let Some(columns) = &self.columns else {
            return match names(record) {
                Ok(columns) => {
                    self.columns = Some(columns);
                    None
                }
                Err(reason) => {
                    self.ended = true;
                    Some(Err(format!("{reason}; the file was not read")))
                }
            };
        };
        if record.as_slice().len() > LONGEST_ROW {
            return Some(Err(too_long()));
        }
        if record.iter().all(<[u8]>::is_empty) {
            return None;
        }
        Some(item(columns, record))
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.ended { None } else { self.read() }
    }
}

/// Stops a row that never ends, before it fills the memory.
struct Bounded<R> {
    input: R,
    budget: Rc<Cell<usize>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let budget = self.budget.get();
        if budget == 0 {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let most = buffer.len().min(budget);
        let length = self.input.read(&mut buffer[..most])?;
        self.budget.set(budget - length);
        Ok(length)
    }
}

/// The columns that the first line names, in any case and with or without blanks.
fn names(record: &ByteRecord) -> Result<Vec<&'static str>, String> {
    let mut columns = Vec::new();
    for name in record {
        let name = String::from_utf8_lossy(name);
        let plain: String = name.chars().filter(|character| !matches!(character, ' ' | '_' | '-')).collect();
        let known = COLUMNS.iter().find(|column| column.eq_ignore_ascii_case(&plain)).copied();
        let known = known.or_else(|| plain.eq_ignore_ascii_case("colors").then_some("colours"));
        match known {
            Some(column) if columns.contains(&column) => return Err(format!("the column {column} is there twice")),
            Some(column) => columns.push(column),
            None => {
                return Err(format!("there is no column {:?}; there are {}", name.trim(), COLUMNS.join(", ")));
            }
        }
    }
    Ok(columns)
}

fn item(columns: &[&'static str], record: &ByteRecord) -> Result<Value, String> {
    let mut fields = Map::new();
    for (column, cell) in columns.iter().zip(record) {
        let cell = std::str::from_utf8(cell).map_err(|_| format!("{column} is not UTF-8"))?;
        if cell.trim().is_empty() {
            continue;
        }
        let (path, cells) = place(column);
        let value = cells.parse(cell).ok_or_else(|| format!("{column} is {cell:?}: expected {}", cells.expected()))?;
        match path {
            [outer, inner] => fields.entry(*outer).or_insert_with(|| json!({}))[*inner] = value,
            _ => {
                fields.insert(path[0].to_owned(), value);
            }
        }
    }
    // An amount alone is how it is without a currency.
    if let Some(Value::Object(price)) = fields.get("price")
        && let (1, Some(amount)) = (price.len(), price.get("amount"))
    {
        let amount = amount.clone();
        fields.insert("price".to_owned(), amount);
    }
    Ok(Value::Object(fields))
}

/// The item's cells in the order of [`COLUMNS`], and how many values no cell can hold.
pub(super) fn record(item: &Map<String, Value>) -> (Vec<String>, usize) {
    let mut lost = 0;
    let cells = COLUMNS.iter().map(|column| {
        let (path, cells) = place(column);
        let value = match (path, item.get(path[0])) {
            ([_], value) => value,
            ([_, inner], Some(Value::Object(fields))) => fields.get(*inner),
            (["price", "amount"], amount) => amount,
            _ => None,
        };
        match value {
            None | Some(Value::Null) => String::new(),
            Some(value) => cells.write(value).unwrap_or_else(|| {
                lost += 1;
                String::new()
            }),
        }
    });
    let cells = cells.collect();
    (cells, lost)
}

impl Cells {
    fn parse(self, cell: &str) -> Option<Value> {
        Some(match self {
            Self::Text => cell.into(),
            Self::Number => Value::Number(serde_json::from_str::<Number>(cell.trim()).ok()?),
            Self::Flag => match cell.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => true.into(),
                "false" | "no" | "0" => false.into(),
                _ => return None,
            },
            Self::List | Self::Colours if cell.starts_with('[') => serde_json::from_str(cell).ok()?,
            Self::List => parts(cell).map(Value::from).collect(),
            Self::Colours => parts(cell).map(colour).collect(),
        })
    }

    const fn expected(self) -> &'static str {
        match self {
            Self::Text => "a text",
            Self::Number => "a number like 39.9",
            Self::Flag => "true or false",
            Self::List => "words, separated by ; or |",
            Self::Colours => "colours like navy:#1f2a44, separated by ; or |",
        }
    }

    /// The cell that [`Cells::parse`] reads as this value; none if there is none.
    fn write(self, value: &Value) -> Option<String> {
        let cell = match (self, value) {
            (Self::Text, Value::String(text)) => text.clone(),
            (Self::Number, Value::Number(number)) => number.to_string(),
            (Self::Flag, Value::Bool(flag)) => flag.to_string(),
            (Self::List, Value::Array(elements)) => {
                let words: Option<Vec<_>> = elements.iter().map(Value::as_str).collect();
                words.map_or_else(|| value.to_string(), |words| words.join(";"))
            }
            (Self::Colours, Value::Array(elements)) => {
                let colours: Vec<_> = elements.iter().map(colour_text).collect();
                colours.join(";")
            }
            _ => return None,
        };
        if self.parse(&cell).is_some_and(|read| read == *value) && !cell.trim().is_empty() {
            return Some(cell);
        }
        // Lists can always be written as JSON.
        value.is_array().then(|| value.to_string())
    }
}

fn parts(cell: &str) -> impl Iterator<Item = &str> {
    cell.split([';', '|']).map(str::trim).filter(|part| !part.is_empty())
}

/// `name:#hex`, or one of the two. A hex value that is none is kept, to be refused.
fn colour(part: &str) -> Value {
    if part.starts_with('#') {
        return json!({ "hex": part });
    }
    match part.rsplit_once(':') {
        Some((name, hex)) if is_hex(hex.trim()) || hex.trim().starts_with('#') => {
            json!({ "name": name.trim(), "hex": hex.trim() })
        }
        Some(_) | None => json!({ "name": part }),
    }
}

fn colour_text(colour: &Value) -> String {
    match (colour["name"].as_str(), colour["hex"].as_str()) {
        (Some(name), Some(hex)) => format!("{name}:{hex}"),
        (name, hex) => name.or(hex).unwrap_or_default().to_owned(),
    }
}
