//! How much work a template is, estimated from above before anything of it is done.
//!
//! The engine's fuel counts instructions, and one instruction copies or compares as much as it is
//! given; the engine's compiler already carries out what is constant. So the syntax is walked first:
//! what each operation would read and write is summed up, from the sizes of the values that the
//! names stand for, and too much is refused.

use minijinja::{
    Value,
    machinery::{
        Token,
        ast::{BinOp, BinOpKind, CallArg, Compare, CompareOpKind, Expr, Slice, Stmt},
        parse, parse_expr, tokenize,
    },
    value::ValueKind,
};
use toolroom_domain::limits::JOB_VALUE_BYTES;

use super::{
    Context,
    room::{ITEM_BYTES, weight},
    words,
};

/// Words and signs of one expression: what is left of another nests as deeply, and the engine follows
/// it on the stack.
const TOKENS: usize = 2_000;
/// Operations within each other; the compiler looks at what is innermost once for each.
const NESTING: usize = 200;
/// How many bytes at most a filter makes of one: JSON writes a control character as `\u0001`.
const GROWTH: usize = 6;
const CHAR_BYTES: usize = 4;

/// Whether a text may be filled in: what it takes is taken off what the context allows.
///
/// # Errors
/// What is wrong with the template.
pub(super) fn admit(source: &str, context: &Context) -> Result<(), String> {
    check_length(source, false)?;
    let parsed = parse(source, "", Default::default()).map_err(|e| words(&e))?;
    if let Stmt::Template(template) = parsed {
        for child in &template.children {
            if let Stmt::EmitExpr(emitted) = child {
                Walk { context }.given(&emitted.expr, 0)?;
            }
        }
    }
    Ok(())
}

/// Whether a bare expression may be evaluated, as [`admit`] says of a text.
///
/// # Errors
/// What is wrong with the expression.
pub(super) fn admit_expression(source: &str, context: &Context) -> Result<(), String> {
    check_length(source, true)?;
    let parsed = parse_expr(source).map_err(|e| words(&e))?;
    Walk { context }.given(&parsed, 0).map(drop)
}

fn check_length(source: &str, is_expression: bool) -> Result<(), String> {
    let mut tokens = 0;
    for token in tokenize(source, is_expression, Default::default()) {
        match token.map_err(|e| words(&e))?.0 {
            Token::VariableStart => tokens = 0,
            _ => tokens += 1,
        }
        if tokens > TOKENS {
            return Err(format!(
                "must have at most {TOKENS} words and signs in one expression"
            ));
        }
    }
    Ok(())
}

/// What an expression gives, as far as it is known before.
enum Given {
    /// A value of the context, or a constant.
    Value(Value),
    /// One of these.
    Either(Vec<Given>),
    /// Something of at most so many bytes.
    Made { bytes: usize, kind: Kind },
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Number,
    Text,
    Any,
}

impl Given {
    const NUMBER: Self = Self::Made {
        bytes: ITEM_BYTES,
        kind: Kind::Number,
    };

    fn text(bytes: usize) -> Self {
        let kind = Kind::Text;
        Self::Made { bytes, kind }
    }

    fn any(bytes: usize) -> Self {
        let kind = Kind::Any;
        Self::Made { bytes, kind }
    }

    fn is(&self, wanted: Kind) -> bool {
        match self {
            Self::Value(value) => match value.kind() {
                // What is not there stops the template, or is not known yet.
                ValueKind::Undefined => true,
                ValueKind::None | ValueKind::Bool | ValueKind::Number => wanted == Kind::Number,
                ValueKind::String => wanted == Kind::Text,
                _ => false,
            },
            Self::Either(all) => all.iter().all(|one| one.is(wanted)),
            Self::Made { kind, .. } => *kind == wanted,
        }
    }
}

struct Walk<'a> {
    context: &'a Context,
}

impl Walk<'_> {
    /// Takes what an expression is off what is left, and tells what it gives.
    fn given(&self, expr: &Expr<'_>, nesting: usize) -> Result<Given, String> {
        if nesting > NESTING {
            return Err(format!(
                "must have at most {NESTING} operations within each other"
            ));
        }
        let of = |expr: &Expr<'_>| self.given(expr, nesting + 1);
        Ok(match expr {
            Expr::Var(name) => Given::Value(self.context.get(name.id)),
            Expr::Const(constant) => Given::Value(constant.value.clone()),
            Expr::GetAttr(get) => self.part(of(&get.expr)?, &Value::from(get.name))?,
            Expr::GetItem(get) => {
                let (whole, key) = (of(&get.expr)?, of(&get.subscript_expr)?);
                match key {
                    Given::Value(key) => self.part(whole, &key)?,
                    key => Given::any(self.charge(&[whole, key], 1)?),
                }
            }
            Expr::Slice(slice) => self.slice(slice, nesting)?,
            Expr::UnaryOp(op) => {
                of(&op.expr)?;
                Given::NUMBER
            }
            Expr::BinOp(op) => self.operation(op, nesting)?,
            Expr::Compare(compare) => self.comparison(compare, nesting)?,
            Expr::IfExpr(choice) => {
                of(&choice.test_expr)?;
                let mut either = vec![of(&choice.true_expr)?];
                if let Some(other) = &choice.false_expr {
                    either.push(of(other)?);
                }
                Given::Either(either)
            }
            Expr::Filter(filter) => {
                let mut given: Vec<_> = filter.expr.iter().map(of).collect::<Result<_, _>>()?;
                given.extend(self.arguments(&filter.args, nesting)?);
                self.filtered(filter.name, given)?
            }
            Expr::Test(test) => {
                let mut given = vec![of(&test.expr)?];
                given.extend(self.arguments(&test.args, nesting)?);
                if given.len() > 1 {
                    self.charge(&given, 1)?;
                }
                Given::NUMBER
            }
            // There is nothing to call: this ends the template.
            Expr::Call(call) => {
                of(&call.expr)?;
                self.arguments(&call.args, nesting)?;
                Given::any(0)
            }
            Expr::List(list) => self.gathered(list.items.iter(), 1, nesting)?,
            Expr::Tuple(tuple) => self.gathered(tuple.items.iter(), 1, nesting)?,
            Expr::Map(map) => {
                // Each key is compared with some of the others.
                let among = map.keys.len().checked_ilog2().unwrap_or(0) as usize + 1;
                let all = map.keys.iter().chain(&map.values);
                self.gathered(all, among, nesting)?
            }
        })
    }

    fn arguments(&self, args: &[CallArg<'_>], nesting: usize) -> Result<Vec<Given>, String> {
        let args = args.iter().map(|arg| match arg {
            CallArg::Pos(expr)
            | CallArg::Kwarg(_, expr)
            | CallArg::PosSplat(expr)
            | CallArg::KwargSplat(expr) => self.given(expr, nesting + 1),
        });
        args.collect()
    }

    fn gathered<'e>(
        &self,
        items: impl Iterator<Item = &'e Expr<'e>>,
        times: usize,
        nesting: usize,
    ) -> Result<Given, String> {
        let items: Vec<_> = items
            .map(|item| self.given(item, nesting + 1))
            .collect::<Result<_, _>>()?;
        let bytes = self.charge(&items, times)?;
        Ok(Given::any(bytes.saturating_add(items.len() * ITEM_BYTES)))
    }

    /// A field or an item. That of a known value is known.
    fn part(&self, whole: Given, key: &Value) -> Result<Given, String> {
        match whole {
            Given::Value(value) if value.kind() != ValueKind::String => {
                Ok(Given::Value(value.get_item(key).unwrap_or_default()))
            }
            whole => Ok(Given::any(self.charge(&[whole], 1)?)),
        }
    }

    fn slice(&self, slice: &Slice<'_>, nesting: usize) -> Result<Given, String> {
        let whole = self.given(&slice.expr, nesting + 1)?;
        let ends = [&slice.start, &slice.stop, &slice.step];
        let ends: Vec<_> = ends
            .map(|end| end.as_ref().map(|end| self.given(end, nesting + 1)))
            .into_iter()
            .flatten()
            .collect::<Result<_, _>>()?;
        self.charge(&ends, 1)?;
        let is_text = whole.is(Kind::Text);
        let bytes = self.charge(&[whole], 1)?;
        if !is_text {
            // A part of a list is found anew each time that it is looked at.
            return Ok(Given::any(bytes.saturating_mul(2)));
        }
        let first = |end: &Expr<'_>| match end {
            Expr::Const(constant) => constant.value.as_usize(),
            _ => None,
        };
        let chars = slice.stop.as_ref().and_then(first);
        let shown = chars.map_or(bytes, |chars| chars.saturating_mul(CHAR_BYTES));
        Ok(Given::text(bytes.min(shown)))
    }

    fn operation(&self, op: &BinOp<'_>, nesting: usize) -> Result<Given, String> {
        let left = self.given(&op.left, nesting + 1)?;
        let right = self.given(&op.right, nesting + 1)?;
        let are_numbers = left.is(Kind::Number) && right.is(Kind::Number);
        Ok(match op.op {
            BinOpKind::ScAnd | BinOpKind::ScOr => Given::Either(vec![left, right]),
            BinOpKind::Mul if !are_numbers => {
                return Err(
                    "multiplies what may be a text or a list; make it a number with `|float` or `|int`"
                        .to_owned(),
                );
            }
            BinOpKind::Add if !are_numbers => Given::any(self.charge(&[left, right], 1)?),
            BinOpKind::Add
            | BinOpKind::Sub
            | BinOpKind::Mul
            | BinOpKind::Div
            | BinOpKind::FloorDiv
            | BinOpKind::Rem
            | BinOpKind::Pow => Given::NUMBER,
            BinOpKind::Concat => Given::text(self.charge(&[left, right], 1)?),
            BinOpKind::In => self.compared(&left, &right, true)?,
            BinOpKind::Eq
            | BinOpKind::Ne
            | BinOpKind::Lt
            | BinOpKind::Lte
            | BinOpKind::Gt
            | BinOpKind::Gte => self.compared(&left, &right, false)?,
        })
    }

    fn comparison(&self, compare: &Compare<'_>, nesting: usize) -> Result<Given, String> {
        let mut left = self.given(&compare.expr, nesting + 1)?;
        for op in &compare.ops {
            let right = self.given(&op.expr, nesting + 1)?;
            let is_in = matches!(op.op, CompareOpKind::In | CompareOpKind::NotIn);
            self.compared(&left, &right, is_in)?;
            left = right;
        }
        Ok(Given::NUMBER)
    }

    fn compared(&self, left: &Given, right: &Given, is_in: bool) -> Result<Given, String> {
        let (a, b) = (self.weigh(left)?, self.weigh(right)?);
        let is_scalar = left.is(Kind::Number) || left.is(Kind::Text);
        // A list is looked at from its beginning for each item that it may be.
        let work = match is_in && !is_scalar {
            true => a.saturating_mul(b),
            false => a.saturating_add(b),
        };
        self.context.charge(work)?;
        Ok(Given::NUMBER)
    }

    fn filtered(&self, name: &str, given: Vec<Given>) -> Result<Given, String> {
        match name {
            "default" => Ok(Given::Either(given)),
            "length" | "int" | "float" | "round" | "abs" | "bytes" => {
                // These may give one of their arguments instead.
                let is_number = given.iter().skip(1).all(|given| given.is(Kind::Number));
                let bytes = self.charge(&given, 1)?;
                Ok(match is_number {
                    true => Given::NUMBER,
                    false => Given::any(bytes),
                })
            }
            "lower" | "upper" | "trim" | "string" | "tojson" | "urlencode" | "path" => {
                let bytes = self.charge(&given, 1)?;
                self.written(bytes.saturating_mul(GROWTH))
            }
            "join" => {
                let (items, between) = given.split_at(given.len().min(1));
                let (items, between) = (self.charge(items, 1)?, self.charge(between, 1)?);
                let items = items.saturating_mul(GROWTH);
                self.written(items.saturating_mul(between.saturating_add(1)))
            }
            _ => Ok(Given::any(self.charge(&given, given.len())?)),
        }
    }

    /// A text that a filter writes, which stops where a value would become too large.
    fn written(&self, bytes: usize) -> Result<Given, String> {
        let bytes = bytes.saturating_add(2).min(JOB_VALUE_BYTES);
        self.context.charge(bytes)?;
        Ok(Given::text(bytes))
    }

    /// Takes looking at these so many times off what is left; gives their bytes together.
    fn charge(&self, given: &[Given], times: usize) -> Result<usize, String> {
        let mut bytes = 0usize;
        for given in given {
            bytes = bytes.saturating_add(self.weigh(given)?);
        }
        self.context.charge(bytes.saturating_mul(times))?;
        Ok(bytes)
    }

    fn weigh(&self, given: &Given) -> Result<usize, String> {
        match given {
            Given::Made { bytes, .. } => Ok(*bytes),
            Given::Either(all) => {
                let mut most = 0;
                for one in all {
                    most = most.max(self.weigh(one)?);
                }
                Ok(most)
            }
            Given::Value(value) => {
                let bytes = weight(value, self.context.left());
                if value.as_str().is_none() {
                    // Weighing took a look at all of it.
                    self.context.charge(bytes)?;
                }
                Ok(bytes)
            }
        }
    }
}

#[cfg(test)]
mod tests;
