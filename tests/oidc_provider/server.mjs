// A certified OpenID provider for tests: several clients, device flow, refresh, keys that rotate.
//
//   node server.mjs PORT MODULES
//
// It listens on 127.0.0.1:PORT and says "ready". Signing in takes no page: /sign-in?login=NAME sets
// a cookie, and every interaction of that browser is then answered by it, with a second factor where
// the client asked for acr urn:mfa. POST /rotate makes a new signing key and drops the old one.
// POST /gate?url=BASE says where the gate is: its console is a known redirect from then on, and it is
// told of logouts.
import { createRequire } from "node:module";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { request as httpsRequest } from "node:https";
import { pathToFileURL } from "node:url";

const [port, modules] = process.argv.slice(2);
const require = createRequire(pathToFileURL(modules + "/"));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const PEOPLE = {
  ann: { groups: ["analysts"], email: "ann@example.com" },
  eve: { groups: ["visitors"], email: "eve@example.com" },
};

function newKey() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), alg: "RS256", use: "sig" };
}

function make(key) {
  const provider = new Provider(`http://127.0.0.1:${port}`, {
    jwks: { keys: [key] },
    clients: [
      {
        client_id: "taskgate", client_secret: "a-client-secret-of-the-tests",
        grant_types: [
          "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code",
        ],
        application_type: "native", redirect_uris: ["http://127.0.0.1/callback"],
        backchannel_logout_uri: `http://127.0.0.1:${port}/logged-out`,
        backchannel_logout_session_required: true,
      },
      {
        client_id: "other-app", token_endpoint_auth_method: "none",
        grant_types: ["authorization_code"], application_type: "native",
        redirect_uris: ["http://127.0.0.1/callback"],
      },
      {
        // What people give psql as oauth_client_id.
        client_id: "psql", token_endpoint_auth_method: "none", application_type: "native",
        grant_types: ["urn:ietf:params:oauth:grant-type:device_code"],
        redirect_uris: [], response_types: [],
      },
      {
        client_id: "robot", client_secret: "a-robots-secret",
        grant_types: ["client_credentials"], redirect_uris: [], response_types: [],
      },
    ],
    cookies: { keys: ["tests"] },
    conformIdTokenClaims: false,
    acrValues: ["urn:mfa"],
    claims: {
      openid: ["sub", "groups", "email", "email_verified", "acr", "amr", "auth_time"],
    },
    pkce: { required: () => true, methods: ["S256"] },
    rotateRefreshToken: true,
    async extraTokenClaims(_, token) {
      return token.accountId && { groups: PEOPLE[token.accountId].groups };
    },
    ttl: { IdToken: 600, AccessToken: 600 },
    // Of its own it waits 2.5 s for the gate, which may have to wait for the machine.
    httpOptions: () => ({ signal: AbortSignal.timeout(20_000) }),
    features: {
      deviceFlow: { enabled: true }, clientCredentials: { enabled: true },
      devInteractions: { enabled: false }, backchannelLogout: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => "urn:gate",
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: "openid", audience: "urn:gate", accessTokenFormat: "jwt",
        }),
      },
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    async findAccount(_, id) {
      const person = PEOPLE[id];
      return person && {
        accountId: id,
        async claims() { return { sub: id, email_verified: true, ...person }; },
      };
    },
  });
  provider.on("server_error", (_, error) => console.error(error));
  provider.on("backchannel.error", (_, error) => console.error(error));
  // The gate's port is not known yet when clients are registered.
  const client = provider.Client.prototype;
  const { redirectUriAllowed, postLogoutRedirectUriAllowed } = client;
  client.redirectUriAllowed = function allowed(uri) {
    return redirectUriAllowed.call(this, uri) || (gate && uri === `${gate}/console/oidc/corp/callback`);
  };
  client.postLogoutRedirectUriAllowed = function allowed(uri) {
    return postLogoutRedirectUriAllowed.call(this, uri) || (gate && uri === `${gate}/console/login`);
  };
  return provider;
}

let gate = "";
let provider = make(newKey());
let handler = provider.callback();

async function interact(request, response) {
  const login = /(?:^|; )who=([a-z]+)/.exec(request.headers.cookie ?? "")?.[1];
  const { prompt, params, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    const strong = (params.acr_values ?? "").split(" ").includes("urn:mfa");
    const how = strong ? { acr: "urn:mfa", amr: ["pwd", "otp"] } : { amr: ["pwd"] };
    return provider.interactionFinished(request, response, { login: { accountId: login, ...how } });
  }
  const grant = (grantId && await provider.Grant.find(grantId))
    || new provider.Grant({ accountId: login, clientId: params.client_id });
  grant.addOIDCScope("openid offline_access");
  grant.addOIDCClaims(["groups", "email", "email_verified"]);
  grant.addResourceScope("urn:gate", "openid");
  return provider.interactionFinished(
    request, response, { consent: { grantId: await grant.save() } }, { mergeWithLastSubmission: true },
  );
}

createServer(async (request, response) => {
  const url = new URL(request.url, `http://127.0.0.1:${port}`);
  try {
    if (url.pathname === "/sign-in") {
      response.setHeader("set-cookie", `who=${url.searchParams.get("login")}; path=/; httponly`);
      response.end("ok");
    } else if (url.pathname === "/rotate") {
      // What people hold at the provider outlives its key, as it would with a store behind it.
      provider = make(newKey());
      handler = provider.callback();
      response.end("rotated");
    } else if (url.pathname === "/gate") {
      gate = url.searchParams.get("url");
      response.end("noted");
    } else if (url.pathname === "/logged-out") {
      // The gate's certificate is of an authority that this process does not know.
      const onward = httpsRequest(`${gate}/v1/oidc/corp/backchannel-logout`, {
        method: "POST", headers: request.headers, rejectUnauthorized: false,
      }, (answer) => { response.statusCode = answer.statusCode; answer.pipe(response); });
      request.pipe(onward);
    } else if (url.pathname.startsWith("/interaction/")) {
      await interact(request, response);
    } else {
      handler(request, response);
    }
  } catch (error) {
    console.error(error);
    response.statusCode = 500;
    response.end("failed");
  }
}).listen(Number(port), "127.0.0.1", () => console.log("ready"));
