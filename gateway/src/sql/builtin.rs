//! What can stand in front of a parenthesis and is surely no stored function: functions that every supported server has built in,
//! and words of the grammar.
//!
//! A server takes a bare name for its own function first, so none of these is a stored one. A function that only newer servers have
//! is left out: it may be a stored one on an older server.

/// In order, so that a name is found by halves.
#[rustfmt::skip]
const NAMES: [&str; 248] = [
    "abs", "acos", "adddate", "addtime", "aes_decrypt", "aes_encrypt", "all", "and", "any", "as",
    "ascii", "asin", "atan", "atan2", "avg", "benchmark", "between", "bin", "binary", "bit_and",
    "bit_count", "bit_length", "bit_or", "bit_xor", "by", "case", "cast", "ceil", "ceiling",
    "char", "char_length", "character_length", "charset", "coalesce", "coercibility",
    "collation", "compress", "concat", "concat_ws", "connection_id", "conv", "convert",
    "convert_tz", "cos", "cot", "count", "crc32", "curdate", "current_date", "current_time",
    "current_timestamp", "current_user", "curtime", "database", "date", "date_add",
    "date_format", "date_sub", "datediff", "day", "dayname", "dayofmonth", "dayofweek",
    "dayofyear", "decimal", "default", "degrees", "distinct", "div", "do", "else", "elt",
    "exists", "exp", "export_set", "extract", "extractvalue", "field", "find_in_set", "floor",
    "format", "found_rows", "from_base64", "from_days", "from_unixtime", "get_format",
    "get_lock", "greatest", "group_concat", "having", "hex", "hour", "if", "ifnull", "in",
    "inet6_aton", "inet6_ntoa", "inet_aton", "inet_ntoa", "instr", "interval", "is_free_lock",
    "is_used_lock", "isnull", "last_day", "last_insert_id", "lcase", "least", "left", "length",
    "like", "limit", "ln", "load_file", "localtime", "localtimestamp", "locate", "log", "log10",
    "log2", "lower", "lpad", "ltrim", "make_set", "makedate", "maketime", "master_pos_wait",
    "max", "md5", "microsecond", "mid", "min", "minute", "mod", "month", "monthname", "not",
    "now", "nullif", "numeric", "oct", "octet_length", "on", "or", "ord", "over", "partition",
    "password", "period_add", "period_diff", "pi", "position", "pow", "power", "quarter",
    "quote", "radians", "rand", "regexp", "release_lock", "repeat", "replace", "reverse",
    "right", "rlike", "round", "row", "row_count", "rpad", "rtrim", "schema", "sec_to_time",
    "second", "select", "session_user", "set", "sha", "sha1", "sha2", "sign", "signed", "sin",
    "sleep", "some", "soundex", "space", "sqrt", "std", "stddev", "stddev_pop", "stddev_samp",
    "str_to_date", "strcmp", "subdate", "substr", "substring", "substring_index", "subtime",
    "sum", "sysdate", "system_user", "tan", "then", "time", "time_format", "time_to_sec",
    "timediff", "timestamp", "timestampadd", "timestampdiff", "to_base64", "to_days",
    "to_seconds", "trim", "truncate", "ucase", "uncompress", "uncompressed_length", "unhex",
    "union", "unix_timestamp", "unsigned", "updatexml", "upper", "user", "using", "utc_date",
    "utc_time", "utc_timestamp", "uuid", "uuid_short", "value", "values", "var_pop", "var_samp",
    "varbinary", "varchar", "variance", "version", "week", "weekday", "weekofyear",
    "weight_string", "when", "where", "xor", "year", "yearweek",
];

/// Whether a bare name in front of a parenthesis is no stored function.
pub(crate) fn is_built_in(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    NAMES.binary_search_by(|known| known.as_bytes().cmp(&name)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_found_whatever_their_case() {
        assert!(NAMES.is_sorted());
        assert!(is_built_in(b"Now") && is_built_in(b"and") && !is_built_in(b"add_order"));
    }
}
