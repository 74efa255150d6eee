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

ReactDOM.createRoot(document.getElementById('graphiql')).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({
      url: endpoint.toString(),
      subscriptionUrl: live.toString(),
    }),
    defaultQuery: welcome,
    defaultEditorToolsVisibility: true,
  }),
);
