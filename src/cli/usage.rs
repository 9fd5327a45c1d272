//! `pluckit usage`: what model calls cost, by day and model.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use comfy_table::CellAlignment::{Left, Right};
use comfy_table::{Table, presets};
use rust_decimal::Decimal;
use serde_json::json;

use super::output::{one_line, output};
use super::{UserArguments, block_on, clock};
use crate::data::Data;
use crate::data::usage::KEPT_DAYS;
use crate::model::prices::Prices;
use crate::model::usage::{ModelUsage, UsageDay};
use crate::routes::usage::{first_of, of_user, with_payer};

/// Users' days read at a time.
const PAGE: usize = 500;

const HEADER: [&str; 7] = ["DAY", "USER", "MODEL", "CALLS", "TOKENS IN", "TOKENS OUT", "COST"];
/// Columns that are shown only on request: users with `--all`, costs with `MODEL_PRICES`.
const USER: usize = 1;
const COST: usize = 6;

/// Flags of `usage`.
#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    user_arguments: UserArguments,
    /// Number of days, up to today (UTC)
    #[arg(long, value_name = "DAYS", default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(1..=i64::from(KEPT_DAYS)))]
    days: u16,
    /// Show the usage of all users and of the service itself
    #[arg(long, conflicts_with = "user")]
    all: bool,
    /// Print JSON like GET /api/usage, or GET /api/admin/usage with --all
    #[arg(long)]
    json: bool,
}

/// Reads the usage from the configured store and prints it.
pub fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let (config, store, user) = arguments.user_arguments.open_existing()?;
    let usage = Data::new(store).usage;
    let first = first_of(arguments.days.into(), clock().now().date());
    let days = block_on(async {
        if !arguments.all {
            return Ok(usage.days(&user, first).await?);
        }
        let (mut days, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = usage.page(first, after, PAGE).await?;
            days.extend(page);
            after = next;
            if after.is_none() {
                return Ok(days);
            }
        }
    })?;
    let prices = &config.model_prices;
    let text = match (arguments.json, arguments.all) {
        (true, true) => {
            let days: Vec<_> = days.into_iter().flat_map(|day| with_payer(day, prices)).collect();
            format!("{:#}\n", json!({ "days": days }))
        }
        (true, false) => {
            let days: Vec<_> = days.into_iter().flat_map(|day| of_user(day, prices)).collect();
            format!("{:#}\n", json!({ "days": days }))
        }
        (false, all) => table(&days, prices, all),
    };
    output().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Formats the days as a table, with a total per model.
fn table(days: &[UsageDay], prices: &Prices, with_users: bool) -> String {
    let mut rows = Vec::new();
    let mut totals: BTreeMap<&str, ModelUsage> = BTreeMap::new();
    for day in days {
        let user = day.payer().map_or("(service)", |user| user.as_str());
        for usage in &day.models {
            rows.push(row(&day.date, user, usage, prices));
            let new = || ModelUsage { model: usage.model.clone(), ..ModelUsage::default() };
            totals.entry(&usage.model).or_insert_with(new).add(usage);
        }
    }
    if rows.is_empty() {
        return "There is no usage.\n".to_owned();
    }
    let mut cost = None;
    for total in totals.values() {
        rows.push(row("total", "", total, prices));
        if let Some(more) = prices.cost(total) {
            cost = Some(cost.unwrap_or(Decimal::ZERO) + more);
        }
    }
    if let Some(cost) = cost.filter(|_| totals.len() > 1) {
        let mut sum: [String; 7] = std::array::from_fn(|_| String::new());
        sum[0] = "total".to_owned();
        sum[COST] = cost.normalize().to_string();
        rows.push(sum);
    }
    drawn(rows, with_users, cost.is_some())
}

fn row(day: &str, user: &str, usage: &ModelUsage, prices: &Prices) -> [String; 7] {
    let cost = prices.cost(usage).map(|cost| cost.to_string()).unwrap_or_default();
    [
        day.to_owned(),
        one_line(user),
        one_line(&usage.model),
        usage.calls.to_string(),
        usage.input_tokens.to_string(),
        usage.output_tokens.to_string(),
        cost,
    ]
}

/// Draws the rows, without the columns that are not wanted.
fn drawn(rows: Vec<[String; 7]>, with_users: bool, with_costs: bool) -> String {
    let is_shown = |column: usize| (column != USER || with_users) && (column != COST || with_costs);
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(HEADER.into_iter().enumerate().filter(|(column, _)| is_shown(*column)).map(|(_, name)| name));
    for row in rows {
        table.add_row(row.into_iter().enumerate().filter(|(column, _)| is_shown(*column)).map(|(_, cell)| cell));
    }
    let alignments = [Left, Left, Left, Right, Right, Right, Right];
    let alignments = alignments.into_iter().enumerate().filter(|(column, _)| is_shown(*column));
    for (column, (_, alignment)) in table.column_iter_mut().zip(alignments) {
        column.set_padding((0, 2)).set_cell_alignment(alignment);
    }
    format!("{}\n", table.trim_fmt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str, user: &str, models: Vec<ModelUsage>) -> UsageDay {
        serde_json::from_value(json!({ "id": date, "userId": user, "date": date, "models": models })).unwrap()
    }

    fn usage(model: &str, calls: u64, input_tokens: u64, output_tokens: u64) -> ModelUsage {
        ModelUsage { model: model.to_owned(), calls, input_tokens, output_tokens }
    }

    #[test]
    fn days_are_shown_with_totals() {
        let days = [
            day("2026-03-02", "ada", vec![usage("main", 2, 6000, 600), usage("nano", 1, 100, 5)]),
            day("2026-03-02", UsageDay::SERVICE, vec![usage("nano", 10, 1000, 50)]),
        ];
        let prices = "main=0.40/1.60".parse().unwrap();
        insta::assert_snapshot!(table(&days, &prices, true), @r"
        DAY         USER       MODEL  CALLS  TOKENS IN  TOKENS OUT     COST
        2026-03-02  ada        main       2       6000         600  0.00336
        2026-03-02  ada        nano       1        100           5
        2026-03-02  (service)  nano      10       1000          50
        total                  main       2       6000         600  0.00336
        total                  nano      11       1100          55
        total                                                       0.00336
        ");
        insta::assert_snapshot!(table(&days[..1], &Prices::default(), false), @r"
        DAY         MODEL  CALLS  TOKENS IN  TOKENS OUT
        2026-03-02  main       2       6000         600
        2026-03-02  nano       1        100           5
        total       main       2       6000         600
        total       nano       1        100           5
        ");
        assert_eq!(table(&[], &prices, true), "There is no usage.\n");
    }
}
