//! Reads and writes wardrobe items as a table.
//!
//! Cells are separated by commas, semicolons or tabs, whichever makes most column names of the first line.
//!
//! An empty cell means: not given. Lists are separated by `;` or `|`; one that holds those characters is written as
//! JSON, as is an empty one. Fields without a column (`wearEvents`, unknown fields) are not in the table, and importing
//! a table keeps them. Spreadsheets treat a cell that begins with `=`, `+`, `-`, `@`, a tab or a carriage return as a
//! formula. Such a cell is written with a leading apostrophe, which is removed on reading.

use std::cell::Cell;
use std::io::{self, BufRead, Cursor, Read};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder};
use serde_json::{Map, Value, json};

use super::check::is_hex;
use super::numbers::{self, Marks};
use super::rows::{not_utf8, too_long};
use super::{LONGEST_ROW, Row};

/// Longest part of the first line that is searched for the separator.
const LONGEST_HEAD: u64 = 64 * 1024;

/// How a cell is converted to a value.
#[derive(Clone, Copy)]
enum Cells {
    Text,
    Number,
    Money,
    Flag,
    List,
    Colours,
}

/// The columns in the order in which they are written, with the path of their value in a document and its type. A file
/// may omit and reorder them.
const COLUMNS: [(&str, &[&str], Cells); 25] = [
    ("id", &["id"], Cells::Text),
    ("category", &["category"], Cells::Text),
    ("brand", &["brand"], Cells::Text),
    ("tags", &["tags"], Cells::List),
    ("colours", &["colours"], Cells::Colours),
    ("price", &["price", "amount"], Cells::Money),
    ("currency", &["price", "originalCurrency"], Cells::Text),
    ("pricePurchaseDate", &["price", "purchaseDate"], Cells::Text),
    ("purchaseDate", &["purchaseDate"], Cells::Text),
    ("estimatedMarketValue", &["estimatedMarketValue"], Cells::Money),
    ("condition", &["condition"], Cells::Text),
    ("sizeLetter", &["size", "letter"], Cells::Text),
    ("sizeWaist", &["size", "waist"], Cells::Number),
    ("sizeInseam", &["size", "inseam"], Cells::Number),
    ("shoeSize", &["size", "shoeSize"], Cells::Number),
    ("sizeSystem", &["size", "system"], Cells::Text),
    ("aestheticTags", &["aestheticTags"], Cells::List),
    ("careInfo", &["careInfo"], Cells::List),
    ("notes", &["notes"], Cells::Text),
    ("imageUrl", &["imageUrl"], Cells::Text),
    ("dateAdded", &["dateAdded"], Cells::Text),
    ("wearCount", &["wearCount"], Cells::Number),
    ("lastWornAt", &["lastWornAt"], Cells::Text),
    ("isWishlisted", &["isWishlisted"], Cells::Flag),
    ("draftStatus", &["draftStatus"], Cells::Text),
];

/// Returns the names of the columns, in the order in which they are written.
pub fn column_names() -> [&'static str; 25] {
    COLUMNS.map(|(name, ..)| name)
}

/// Returns the path of a column's value in a document, and its type.
fn place(column: &str) -> (&'static [&'static str], Cells) {
    let found = COLUMNS.iter().find(|(name, ..)| *name == column);
    found.map(|(_, path, cells)| (*path, *cells)).expect("columns come from the table")
}

/// A row behind the last one, and its content. If a quote is still open at the end of a table, the reader takes this row
/// for a part of the cell.
const LAST_ROW: &[u8] = b"\n\x01end of the table\x01";
const MARK: &[u8] = b"\x01end of the table\x01";

/// The head of a table, its rest, and the row behind the last one.
type Whole<R> = io::Chain<io::Chain<Cursor<Vec<u8>>, R>, &'static [u8]>;

/// Reads the rows of a table.
pub(super) struct Rows<R> {
    reader: csv::Reader<Bounded<Whole<R>>>,
    /// Bytes left before the row must end.
    budget: Rc<Cell<usize>>,
    /// Lines before the first one that the reader sees.
    skipped: u64,
    marks: Marks,
    /// `None` before the first line was read; the entry of an unnamed column is `None`.
    columns: Option<Vec<Option<&'static str>>>,
    ended: bool,
}

impl<R: BufRead> Rows<R> {
    pub(super) fn new(mut input: R) -> Self {
        let Head { text, separator, skipped } = Head::read(&mut input);
        let budget = Rc::new(Cell::new(2 * LONGEST_ROW));
        let input = Cursor::new(text).chain(input).chain(LAST_ROW);
        let input = Bounded { input, budget: budget.clone() };
        let marks = match separator {
            b',' => Marks::Points,
            b';' => Marks::Commas,
            _ => Marks::Unknown,
        };
        let mut builder = ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(separator);
        Self { reader: builder.from_reader(input), budget, skipped, marks, columns: None, ended: false }
    }

    fn read(&mut self) -> Option<Row> {
        loop {
            self.budget.set(2 * LONGEST_ROW);
            let mut record = ByteRecord::new();
            let line = self.reader.position().line();
            let found = match self.reader.read_byte_record(&mut record) {
                Ok(true) if record.as_slice().ends_with(MARK) => {
                    self.ended = true;
                    // In a row of its own, unless a quote is open.
                    if record.as_slice() == MARK {
                        return None;
                    }
                    Some(Err("a closing quote is missing: the row takes in the rest of the file".to_owned()))
                }
                Ok(false) => return None,
                Ok(true) => self.read_record(&record),
                Err(error) => {
                    self.ended = true;
                    let reason = if self.budget.get() == 0 {
                        format!("{}: is a closing quote missing? The rest of the file was not read", too_long())
                    } else {
                        format!("the rest of the file cannot be read: {error}")
                    };
                    Some(Err(reason))
                }
            };
            let line = self.skipped + record.position().map_or(line, csv::Position::line);
            let size = record.as_slice().len();
            match found {
                // The header, or an empty line.
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
        if record.iter().all(|cell| cell.trim_ascii().is_empty()) {
            return None;
        }
        let (expected, found) = (columns.len(), record.len());
        if found < expected || record.iter().skip(expected).any(|cell| !cell.trim_ascii().is_empty()) {
            return Some(Err(format!("it has {found} cells where the first line has {expected}")));
        }
        Some(item(columns, record, self.marks))
    }
}

impl<R: BufRead> Iterator for Rows<R> {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        if self.ended { None } else { self.read() }
    }
}

/// The start of a table.
struct Head {
    /// Text that is still to be parsed.
    text: Vec<u8>,
    /// Separator of cells.
    separator: u8,
    /// Lines that were passed over.
    skipped: u64,
}

impl Head {
    /// Reads the first line that is not empty. `sep=;`, which some programs write before it, names the separator.
    fn read(input: &mut impl BufRead) -> Self {
        let (mut skipped, mut declared) = (0, None);
        loop {
            let mut text = Vec::new();
            // The reader of the rows reports errors.
            let length = input.take(LONGEST_HEAD).read_until(b'\n', &mut text).unwrap_or_default();
            let line = text.trim_ascii();
            let bare = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
            // Of the untrimmed line, since the separator may be a tab.
            let is_declaration =
                declared.is_none() && bare.len() <= 5 && bare.to_ascii_lowercase().starts_with(b"sep=");
            if is_declaration {
                let start = text.windows(4).position(|part| part.eq_ignore_ascii_case(b"sep=")).unwrap_or_default();
                declared = text.get(start + 4).copied().filter(|separator| !matches!(separator, b'\r' | b'\n' | b'"'));
            } else if length == 0 || !line.is_empty() {
                let separator = declared.unwrap_or_else(|| likely_separator(&text));
                return Self { text, separator, skipped };
            }
            skipped += 1;
        }
    }
}

/// Returns the separator with which the first line names the most columns.
fn likely_separator(head: &[u8]) -> u8 {
    let names = |separator: &u8| {
        let mut reader = ReaderBuilder::new().has_headers(false).delimiter(*separator).from_reader(head);
        let mut record = ByteRecord::new();
        match reader.read_byte_record(&mut record) {
            Ok(true) => record.iter().filter(|name| known_column(&String::from_utf8_lossy(name)).is_some()).count(),
            Ok(false) | Err(_) => 0,
        }
    };
    // Ties go to the last one: a comma if all are equal.
    [b'|', b'\t', b';', b','].into_iter().max_by_key(names).unwrap_or(b',')
}

/// Stops an endless row before it fills the memory.
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

/// Finds a column by name, ignoring case, spaces and hyphens.
fn known_column(name: &str) -> Option<&'static str> {
    let plain: String = name.chars().filter(|character| character.is_alphanumeric()).collect();
    let known = column_names().into_iter().find(|column| column.eq_ignore_ascii_case(&plain));
    known.or_else(|| plain.eq_ignore_ascii_case("colors").then_some("colours"))
}

/// Parses the header; columns without a name, which spreadsheets leave at the end, must stay empty.
fn names(record: &ByteRecord) -> Result<Vec<Option<&'static str>>, String> {
    let mut columns = Vec::new();
    for name in record {
        let name = std::str::from_utf8(name).map_err(|_| not_utf8("the first line"))?.trim();
        let column = known_column(name);
        match column {
            Some(column) if columns.contains(&Some(column)) => {
                return Err(format!("the column {column} is there twice"));
            }
            None if !name.is_empty() => {
                return Err(format!("there is no column {name:?}; there are {}", column_names().join(", ")));
            }
            _ => columns.push(column),
        }
    }
    Ok(columns)
}

fn item(columns: &[Option<&'static str>], record: &ByteRecord, marks: Marks) -> Result<Value, String> {
    let mut fields = Map::new();
    // Each amount with its own currency: column, cell, and currency symbol.
    let mut moneys = Vec::new();
    for (number, (column, cell)) in columns.iter().zip(record).enumerate() {
        if cell.trim_ascii().is_empty() {
            continue;
        }
        let Some(column) = column else {
            return Err(format!("column {} has a value and no name in the first line", number + 1));
        };
        let cell = unguarded(std::str::from_utf8(cell).map_err(|_| not_utf8(column))?);
        let (path, cells) = place(column);
        let fault = || {
            let is_number = matches!(cells, Cells::Number | Cells::Money);
            let is_ambiguous = is_number && numbers::money(cell, Marks::Points).is_some();
            let hint = if is_ambiguous { "; three digits behind one comma or point may be thousands" } else { "" };
            format!("{column} is {cell:?}: expected {}{hint}", cells.expected())
        };
        let value = if let Cells::Money = cells {
            let (amount, currency) = numbers::money(cell, marks).ok_or_else(fault)?;
            moneys.extend(currency.map(|currency| (*column, cell, currency)));
            Value::Number(amount)
        } else {
            cells.parse(cell, marks).ok_or_else(fault)?
        };
        match path {
            [outer, inner] => fields.entry(*outer).or_insert_with(|| json!({}))[*inner] = value,
            _ => {
                fields.insert(path[0].to_owned(), value);
            }
        }
    }
    for (column, cell, currency) in moneys {
        settle_currency(&mut fields, currency).map_err(|reason| format!("{column} is {cell:?}: {reason}"))?;
    }
    // Without a currency, store the bare amount.
    if let Some(Value::Object(price)) = fields.get("price")
        && let (1, Some(amount)) = (price.len(), price.get("amount"))
    {
        let amount = amount.clone();
        fields.insert("price".to_owned(), amount);
    }
    Ok(Value::Object(fields))
}

/// Checks that the currency in a cell matches the row's, or sets the row's.
fn settle_currency(fields: &mut Map<String, Value>, symbol: &str) -> Result<(), String> {
    let meant = numbers::currencies(symbol);
    let price = fields.entry("price").or_insert_with(|| json!({}));
    match price["originalCurrency"].as_str() {
        Some(given) if meant.iter().any(|code| code.eq_ignore_ascii_case(given)) => Ok(()),
        Some(given) => Err(format!("expected an amount in {given}, as the column currency says")),
        None if meant.len() == 1 && price.get("amount").is_some() => {
            price["originalCurrency"] = meant[0].clone().into();
            Ok(())
        }
        None => Err("expected the currency in the column currency, by a code like EUR".to_owned()),
    }
}

/// Whether a spreadsheet would treat the cell as a formula, or the cell looks like an escaped one.
fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// Escapes a cell so that spreadsheets show it as text.
fn guarded(cell: String) -> String {
    if is_formula(&cell) { format!("'{cell}") } else { cell }
}

/// Removes the apostrophe that [`guarded`] added, if any.
fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|bare| is_formula(bare)).unwrap_or(cell)
}

/// Returns the item's cells in the order of [`column_names`], and the number of values that do not fit into a cell.
pub(super) fn record(item: &Map<String, Value>) -> (Vec<String>, usize) {
    let mut lost = 0;
    let cells = COLUMNS.iter().map(|(_, path, cells)| {
        let value = match (*path, item.get(path[0])) {
            ([_], value) => value,
            ([_, inner], Some(Value::Object(fields))) => fields.get(*inner),
            (["price", "amount"], amount) => amount,
            _ => None,
        };
        match value {
            None | Some(Value::Null) => String::new(),
            Some(value) => cells.write(value).map_or_else(
                || {
                    lost += 1;
                    String::new()
                },
                guarded,
            ),
        }
    });
    let cells = cells.collect();
    (cells, lost)
}

impl Cells {
    fn parse(self, cell: &str, marks: Marks) -> Option<Value> {
        Some(match self {
            Self::Text => cell.into(),
            Self::Number | Self::Money => Value::Number(numbers::number(cell, marks)?),
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
            Self::Number | Self::Money => "a number like 39.9",
            Self::Flag => "true or false",
            Self::List => "words, separated by ; or |",
            Self::Colours => "colours like navy:#1f2a44, separated by ; or |",
        }
    }

    /// Returns the cell that [`Cells::parse`] reads as this value, if possible.
    fn write(self, value: &Value) -> Option<String> {
        let cell = match (self, value) {
            (Self::Text, Value::String(text)) => text.clone(),
            (Self::Number | Self::Money, Value::Number(number)) => number.to_string(),
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
        if self.parse(&cell, Marks::Points).is_some_and(|read| read == *value) && !cell.trim().is_empty() {
            return Some(cell);
        }
        // Lists can always be written as JSON.
        value.is_array().then(|| value.to_string())
    }
}

fn parts(cell: &str) -> impl Iterator<Item = &str> {
    cell.split([';', '|']).map(str::trim).filter(|part| !part.is_empty())
}

/// Parses `name:#hex`, or one of the two. An invalid hex value is kept, so that it is rejected later.
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
