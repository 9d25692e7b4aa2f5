//! Which columns of two tables are compared, in which order, and which are not.

use shunt_engine::key::KeyPlan;
use shunt_engine::mysql::names::lowered;
use shunt_engine::mysql::schema::{Generated, TableSchema};
use shunt_engine::mysql::sql;
use shunt_engine::plan::TablePlan;
use shunt_engine::{Error, Result};

use crate::columns::Compared;
use crate::spec::Spec;

/// The columns that both sides have: those that the source's server does not compute.
pub(super) fn compared(
    plan: &TablePlan,
    target: &TableSchema,
    spec: &Spec,
) -> Result<Vec<(usize, Compared)>> {
    let key: Vec<usize> =
        plan.key.iter().flat_map(|k| k.columns.iter().map(|c| c.ordinal)).collect();
    for name in spec.columns.iter().chain(spec.map.iter().map(|(source, _)| source)) {
        if plan.source.column_index(name).is_none() {
            return Err(Error::usage(format!(
                "table {} of the source has no column {}",
                sql::ident(plan.name()),
                sql::ident(name)
            )));
        }
    }
    let wanted = |ordinal: usize, name: &str| {
        spec.columns.is_empty()
            || key.contains(&ordinal)
            || spec.columns.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let mut columns = Vec::new();
    for carried in plan.columns.iter().filter(|column| wanted(column.ordinal, &column.name)) {
        let mapped = spec.map.iter().find(|(source, _)| source.eq_ignore_ascii_case(&carried.name));
        let name = mapped.map_or(carried.name.as_str(), |(_, target)| target);
        let at = target.column_index(name).ok_or_else(|| {
            Error::usage(format!(
                "table {} of the target (or its archive) has no column {}",
                sql::ident(&target.name),
                sql::ident(name)
            ))
            .advice("Name the columns to compare with --columns, or their other names with --map.")
        })?;
        let column = Compared::new(&plan.source.columns[carried.ordinal], &target.columns[at])?;
        columns.push((carried.ordinal, column));
    }
    check_names(&columns, spec)?;
    Ok(columns)
}

/// Each column stands beside one other.
fn check_names(columns: &[(usize, Compared)], spec: &Spec) -> Result<()> {
    let twice = |names: &mut Vec<String>| {
        names.sort_unstable();
        names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone())
    };
    let mut sources: Vec<String> = spec.map.iter().map(|(name, _)| lowered(name)).collect();
    let mut targets: Vec<String> =
        columns.iter().map(|(_, column)| lowered(&column.target_name)).collect();
    let Some(name) = twice(&mut sources).or_else(|| twice(&mut targets)) else { return Ok(()) };
    Err(Error::usage(format!("column {} would be compared with two columns", sql::ident(&name)))
        .advice("Give each column one other with --map, and leave the rest out with --columns."))
}

/// The key's columns in the key's order, then the others in the table's.
pub(super) fn in_order(
    mut columns: Vec<(usize, Compared)>,
    key: Option<&KeyPlan>,
) -> (Vec<Compared>, usize) {
    let key: Vec<usize> =
        key.iter().flat_map(|key| key.columns.iter().map(|c| c.ordinal)).collect();
    columns.sort_by_key(|(ordinal, _)| {
        key.iter().position(|at| at == ordinal).map_or((1, *ordinal), |at| (0, at))
    });
    (columns.into_iter().map(|(_, column)| column).collect(), key.len())
}

/// Columns that only the target has, if all of the source's are compared.
pub(super) fn only_target(
    plan: &TablePlan,
    target: &TableSchema,
    columns: &[Compared],
    spec: &Spec,
) -> Vec<String> {
    let compared = |name: &str| columns.iter().any(|c| c.target_name.eq_ignore_ascii_case(name));
    let own = target.columns.iter().filter(|column| column.generated == Generated::No);
    let computed = |name: &str| {
        let at = plan.source.column_index(name);
        at.is_some_and(|at| plan.source.columns[at].generated != Generated::No)
    };
    let own = own.filter(|column| {
        spec.columns.is_empty() && !compared(&column.name) && !computed(&column.name)
    });
    own.map(|column| column.name.clone()).collect()
}

/// Columns of the source that could be compared and are not.
pub(super) fn left_out(plan: &TablePlan, columns: &[Compared]) -> Vec<String> {
    let compared = |name: &str| columns.iter().any(|c| c.source_name.eq_ignore_ascii_case(name));
    let names = plan.columns.iter().map(|column| &column.name);
    names.filter(|name| !compared(name)).map(ToString::to_string).collect()
}
