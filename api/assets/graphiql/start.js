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

const byHttp = GraphiQL.createFetcher({ url: endpoint.toString() });
const bySocket = graphqlWs.createClient({ url: live.toString(), lazy: true });

// GraphiQL's own way of subscribing drops what waits to be shown when the stream ends.
const fetcher = (request, options) => {
  const isSubscription = options?.documentAST?.definitions.some(
    (definition) =>
      definition.operation === 'subscription' &&
      (!request.operationName || definition.name?.value === request.operationName),
  );
  return isSubscription ? bySocket.iterate(request) : byHttp(request, options);
};

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  React.createElement(GraphiQL, {
    fetcher,
    defaultQuery: welcome,
    defaultEditorToolsVisibility: true,
  }),
);
