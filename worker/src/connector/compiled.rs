//! A connector that is ready: its schemas compiled, its templates known to be templates.

use std::sync::Arc;

use serde_json::Value;
use toolroom_domain::{
    Violation,
    connector::{ActionSpec, ConnectorSpec},
};

use super::{
    format::{Action, File},
    handler::Handlers,
    lint::Linter,
};
use crate::executor::{rest::Templates, schema::Schema};

/// A connector.
#[derive(Debug)]
pub(crate) struct Connector {
    pub(super) file: File,
    /// From which file it came.
    pub(super) origin: String,
    pub(super) spec: Arc<ConnectorSpec>,
    credentials: Schema,
    config: Option<Schema>,
    /// In the order of the file's actions.
    actions: Vec<Schemas>,
}

#[derive(Debug)]
struct Schemas {
    input: Schema,
    output: Option<Schema>,
}

/// An action of a connector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) number: usize,
    pub(super) action: &'a Action,
    schemas: &'a Schemas,
}

impl Found<'_> {
    /// # Errors
    /// What is wrong with an input, paths relative to it.
    pub(super) fn check_input(&self, input: &Value) -> Result<(), Vec<Violation>> {
        self.schemas.input.check(input)
    }

    /// # Errors
    /// What is wrong with an output, paths relative to it.
    pub(super) fn check_output(&self, output: &Value) -> Result<(), Vec<Violation>> {
        let schema = self.schemas.output.as_ref();
        schema.map_or(Ok(()), |schema| schema.check(output))
    }
}

impl Connector {
    /// Makes a file ready.
    ///
    /// # Errors
    /// All that is wrong with it, paths relative to the file.
    pub(super) fn compile(
        file: File,
        origin: &str,
        templates: &Templates,
        methods: &super::auth::Methods,
        handlers: &Handlers,
    ) -> Result<Self, Vec<Violation>> {
        let mut found = Linter::new(templates, methods, handlers).check(&file);
        let mut compile = |path: &str, schema: &Value| match Schema::compile_with_formats(schema) {
            Ok(schema) => Some(schema),
            Err(problems) => {
                found.extend(problems.into_iter().map(|v| v.under(path)));
                None
            }
        };
        let credentials = compile("credentials", &file.credentials);
        let config = file.config.as_ref().map(|schema| compile("config", schema));
        let mut actions = Vec::with_capacity(file.actions.len());
        for (i, action) in file.actions.iter().enumerate() {
            let input = compile(&format!("actions.{i}.input"), &action.input);
            let output = action.output.as_ref();
            let output = output.map(|schema| compile(&format!("actions.{i}.output"), schema));
            actions.extend(input.map(|input| Schemas {
                input,
                output: output.flatten(),
            }));
        }
        let Some(credentials) = credentials.filter(|_| found.is_empty()) else {
            return Err(found);
        };
        let spec = Arc::new(spec(&file));
        let connector = Self {
            file,
            origin: origin.to_owned(),
            spec,
            credentials,
            config: config.flatten(),
            actions,
        };
        connector.check_examples()?;
        Ok(connector)
    }

    /// The action of an id, with or without the connector's prefix.
    pub(super) fn action(&self, id: &str) -> Option<Found<'_>> {
        let spec = self.spec.action(id)?;
        let number = self.file.actions.iter().position(|a| a.id == spec.id)?;
        self.numbered(number)
    }

    /// Each action, in the order of the file.
    pub(super) fn actions(&self) -> impl Iterator<Item = Found<'_>> {
        (0..self.actions.len()).filter_map(|number| self.numbered(number))
    }

    /// The handlers that carry its actions out, by name.
    pub(super) fn handlers(&self) -> impl Iterator<Item = &str> {
        let actions = self.file.actions.iter();
        actions.filter_map(|action| action.handler.as_deref())
    }

    fn numbered(&self, number: usize) -> Option<Found<'_>> {
        Some(Found {
            number,
            action: self.file.actions.get(number)?,
            schemas: self.actions.get(number)?,
        })
    }

    /// Checks what a tool is registered with. A reference to a secret suits any field of text.
    ///
    /// # Errors
    /// All that is wrong, paths beginning with `credentials` or `config`.
    pub(super) fn check_settings(
        &self,
        credentials: &Value,
        config: Option<&Value>,
    ) -> Result<(), Vec<Violation>> {
        let mut found = Vec::new();
        if let Err(problems) = self.credentials.check(credentials) {
            let real = problems
                .into_iter()
                .filter(|violation| !is_reference(credentials, &violation.path));
            found.extend(real.map(|v| v.under("credentials")));
        }
        match (&self.config, config) {
            (_, None) => {}
            (Some(schema), Some(config)) => {
                let problems = schema.check(config).err().unwrap_or_default();
                found.extend(problems.into_iter().map(|v| v.under("config")));
            }
            (None, Some(config)) => {
                if !matches!(config, Value::Object(fields) if fields.is_empty()) {
                    let problem = format!("{} takes no settings; leave it out", self.spec.kind);
                    found.push(Violation::new("config", problem));
                }
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    fn check_examples(&self) -> Result<(), Vec<Violation>> {
        let mut found = Vec::new();
        for action in self.actions() {
            for (i, example) in action.action.examples.iter().enumerate() {
                let place = format!("actions.{}.examples.{i}", action.number);
                let credentials = with_defaults(&self.file.credentials, &example.credentials);
                let settings = self.check_settings(&credentials, example.config.as_ref());
                let problems = settings.err().unwrap_or_default();
                found.extend(problems.into_iter().map(|v| v.under(&place)));
                let input = with_defaults(&action.action.input, &example.input);
                let problems = action.check_input(&input).err().unwrap_or_default();
                found.extend(problems.into_iter().map(|v| v.under("input").under(&place)));
            }
        }
        if found.is_empty() { Ok(()) } else { Err(found) }
    }
}

fn is_reference(value: &Value, path: &str) -> bool {
    let mut at = Some(value);
    for name in path.split('.') {
        at = at.and_then(|value| value.get(name));
    }
    let text = at.and_then(Value::as_str);
    text.is_some_and(|text| toolroom_domain::secret::reference(text).is_some())
}

/// A value with the `default` of each property of the schema that it leaves out.
pub(super) fn with_defaults(schema: &Value, value: &Value) -> Value {
    let mut whole = value.clone();
    let properties = schema.get("properties").and_then(Value::as_object);
    if let (Value::Object(fields), Some(properties)) = (&mut whole, properties) {
        for (name, property) in properties {
            if let Some(default) = property.get("default")
                && !fields.contains_key(name)
            {
                fields.insert(name.clone(), default.clone());
            }
        }
    }
    whole
}

fn spec(file: &File) -> ConnectorSpec {
    let action = |action: &Action| ActionSpec {
        id: action.id.clone(),
        name: action.name.clone(),
        description: action.description.clone(),
        action_type: action.action_type,
        input_schema: action.input.clone(),
        output_schema: action.output.clone(),
    };
    ConnectorSpec {
        kind: file.kind.clone(),
        name: file.name.clone(),
        description: file.description.clone(),
        credentials_schema: file.credentials.clone(),
        actions: file.actions.iter().map(action).collect(),
    }
}
