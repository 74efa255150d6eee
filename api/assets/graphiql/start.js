// Relative to the page, so that it works below a path of a reverse proxy too.
const endpoint = new URL('graphql', window.location.href);
const live = new URL(endpoint);
live.protocol = endpoint.protocol === 'https:' ? 'wss:' : 'ws:';

const welcome = `# Toolroom: register a tool, run it, watch its job, replay what happened.
#
# The tools that there are:
query Tools {
  tools(first: 20) {
    nodes {
      number
      name
      kind
      description
    }
  }
}
`;

// Where this browser signs in; and what its session's requests must carry, which no other page knows.
const session = new URL('session', window.location.href);
let csrfToken = null;

const send = (url, options = {}) => {
  const headers = new Headers(options.headers);
  if (csrfToken && !headers.has('Authorization') && !headers.has('X-API-Key')) {
    headers.set('X-CSRF-Token', csrfToken);
  }
  return fetch(url, { ...options, headers });
};

const byHttp = GraphiQL.createFetcher({ url: endpoint.toString(), fetch: send });
const bySocket = graphqlWs.createClient({ url: live.toString(), lazy: true });

// The server ends what it streams when whoever reads it is no more who they were. A browser tells
// the end of a socket as an event, of which GraphiQL would show nothing that helps.
const ends = {
  4401: 'signed out: the credential does not count any more; sign in again',
  4403: 'your role or membership has changed; run it again',
};

const explained = (problem) => {
  if (!(problem instanceof Event)) return problem;
  const said = ends[problem.code] || problem.reason || 'the server cannot be reached';
  // Not an Error: its stack would be shown too.
  return { message: `the connection was closed: ${said}` };
};

// Not a generator: one that waits for an event cannot be stopped.
const stream = (request) => {
  const events = bySocket.iterate(request);
  const next = events.next.bind(events);
  events.next = () =>
    next().catch((problem) => {
      throw explained(problem);
    });
  return events;
};

// GraphiQL's own way of subscribing drops what waits to be shown when the stream ends.
const fetcher = (request, options) => {
  const isSubscription = options?.documentAST?.definitions.some(
    (definition) =>
      definition.operation === 'subscription' &&
      (!request.operationName || definition.name?.value === request.operationName),
  );
  return isSubscription ? stream(request) : byHttp(request, options);
};

const root = document.getElementById('graphiql');

const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

const showEditor = () => {
  ReactDOM.createRoot(root).render(
    React.createElement(GraphiQL, {
      fetcher,
      defaultQuery: welcome,
      defaultEditorToolsVisibility: true,
    }),
  );
  if (!csrfToken) return;
  const leave = element('button', { id: 'sign-out', type: 'button' }, 'Sign out');
  leave.addEventListener('click', async () => {
    await send(session, { method: 'DELETE' });
    window.location.reload();
  });
  document.body.append(leave);
};

const showSignIn = () => {
  const credential = element('input', { type: 'password', autocomplete: 'off', required: true });
  const workspace = element('input', { type: 'text', autocomplete: 'off' });
  const problem = element('p', { role: 'alert' });
  const form = element(
    'form',
    { id: 'sign-in' },
    element('label', {}, 'API key or token', credential),
    element('label', {}, 'Workspace, if you have several', workspace),
    element('button', {}, 'Sign in'),
    problem,
  );
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const headers = { Authorization: `Bearer ${credential.value.trim()}` };
    if (workspace.value.trim()) headers['X-Workspace-Id'] = workspace.value.trim();
    const answer = await fetch(session, { method: 'POST', headers });
    const body = await answer.json();
    if (!answer.ok) {
      problem.textContent = body.error;
      return;
    }
    csrfToken = body.csrfToken;
    form.remove();
    showEditor();
  });
  root.replaceChildren(form);
};

const start = async () => {
  const answer = await fetch(session);
  if (answer.status === 401) return showSignIn();
  if (answer.ok) csrfToken = (await answer.json()).csrfToken;
  showEditor();
};

start();
