//! Connectors of the operator's own: checked before, refused at the start.

use std::fs;

use crate::support::Operator;

const NOTES: &str = r#"$schema: ./schema.json
type: NOTES
name: Notes
description: Keeps notes.
documentation: https://notes.example.com/docs
credentials:
  type: object
  additionalProperties: false
  required: [token]
  properties: { token: { type: string, minLength: 8, writeOnly: true } }
base_url: https://notes.example.com/v1
auth: { method: bearer, token: "{{ credentials.token }}" }
actions:
  - id: notes.add
    name: Add a note
    description: Adds a note, with a file where one is given.
    action_type: create
    input:
      type: object
      required: [text]
      properties: { text: { type: string }, file: { type: string } }
    output: { type: object, required: [id] }
    requests:
      - steps:
          - id: upload
            when: input.file is defined
            method: POST
            path: files
            body: { text: "{{ input.file }}" }
          - id: add
            method: POST
            path: notes
            body:
              json:
                text: "{{ input.text }}"
                file: "{{ steps.upload.body.id if steps.upload is defined else none }}"
                on: "{{ DATE }}"
            output: { id: "{{ body.id }}" }
    examples:
      - name: A note
        credentials: { token: secret-token }
        input: { text: "Hello {{ world }}" }
        answers: [ { status: 201, body: { id: 7, echo: secret-token } } ]
      - name: A note with a file
        credentials: { token: secret-token }
        input: { text: Hello, file: "1;2" }
"#;

fn written(operator: &Operator, name: &str, text: &str) -> String {
    let path = operator.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_sound_file_shows_what_its_examples_send() {
    let operator = Operator::new();
    written(&operator, "notes.yaml", NOTES);
    let ran = operator.run(&["connectors", "check", "notes.yaml"]).await;
    let ran = ran.succeeds();
    assert_eq!(
        ran.out(),
        r#"notes.yaml: NOTES, 1 actions

notes.add: A note
  POST https://notes.example.com/v1/notes
    authorization: Bearer ***
    content-type: application/json
    {"on":"2030-01-01","text":"Hello {{ world }}"}
  gives {"id":7}

notes.add: A note with a file
  POST https://notes.example.com/v1/files
    authorization: Bearer ***
    content-type: text/plain; charset=utf-8
    1;2
  then add: give the example `answers` to see more
"#
    );
}

#[tokio::test]
async fn a_faulty_file_is_refused_with_the_place_of_each_fault() {
    let operator = Operator::new();
    let faulty = NOTES
        .replace("path: files", "path: \"{{ input.fil\"")
        .replace("action_type: create", "action_type: add");
    written(&operator, "notes.yaml", &faulty);
    let ran = operator.run(&["connectors", "check", "notes.yaml"]).await;
    let words = ran.fails();
    assert!(
        words.contains("notes.yaml: actions.0.action_type: must be one of"),
        "{words}"
    );
    let wrong = NOTES.replace("body: { id: 7, echo: secret-token }", "body: { ok: true }");
    written(&operator, "notes.yaml", &wrong);
    let ran = operator.run(&["connectors", "check", "notes.yaml"]).await;
    let words = ran.fails();
    assert!(
        words.contains("notes.yaml: actions.0.examples.0: "),
        "{words}"
    );
    assert!(!words.contains("secret-token"), "{words}");
}

#[tokio::test]
async fn an_operators_folder_is_listed_and_a_faulty_file_in_it_stops_the_start() {
    let operator = Operator::new();
    written(&operator, "toolroom.toml", "connectors_dir = \"mine\"\n");
    written(&operator, "mine/notes.yaml", NOTES);
    let listed = operator.run(&["connectors", "list"]).await.succeeds();
    let line = listed.out();
    let line = line.lines().find(|line| line.starts_with("NOTES")).unwrap();
    assert!(
        line.contains("notes.add") && line.contains("mine/notes.yaml"),
        "{line}"
    );

    written(
        &operator,
        "mine/notes.yaml",
        &NOTES.replace("type: NOTES", "type: HTTP"),
    );
    let words = operator
        .run(&["serve", "--listen", "127.0.0.1:0"])
        .await
        .fails();
    assert!(
        words.contains("mine/notes.yaml: type: is `HTTP`"),
        "{words}"
    );
}
