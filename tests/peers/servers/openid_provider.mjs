// A real OpenID provider (oidc-provider) for tests: people sign in by a form, groups are claims, clients register
// themselves, access tokens are JWTs for the resource that was asked for. Settings come as JSON in the first argument.
import { createRequire } from "node:module";
import http from "node:http";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(process.argv[2]);
const require = createRequire(pathToFileURL(process.argv[3] + "/package.json"));
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")).href);

const accounts = settings.accounts; // login → claims
const issuer = settings.issuer;

const provider = new Provider(issuer, {
  clients: settings.clients ?? [],
  claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"], groups: ["groups"] },
  conformIdTokenClaims: false,
  scopes: ["openid", "email", "profile", "groups", "offline_access", ...(settings.scopes ?? [])],
  findAccount: (_, id) => accounts[id] && { accountId: id, claims: () => ({ sub: id, ...accounts[id] }) },
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  ...(settings.key ? { jwks: { keys: [settings.key] } } : {}),
  cookies: { keys: ["only for tests"] },
  fetch: (url, { dispatcher, ...options }) => globalThis.fetch(url, options), // everything here is on loopback
  pkce: { required: () => true },
  rotateRefreshToken: true,
  issueRefreshToken: () => true,
  features: {
    devInteractions: { enabled: false },
    registration: { enabled: true },
    revocation: { enabled: true },
    introspection: { enabled: true },
    clientCredentials: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => settings.resource,
      useGrantedResource: () => true,
      getResourceServerInfo: (_, resource) => ({
        scope: ["openid", "offline_access", ...(settings.scopes ?? [])].join(" "),
        audience: resource,
        accessTokenFormat: "jwt",
        accessTokenTTL: settings.accessSeconds ?? 3600,
      }),
    },
  },
  ttl: { AccessToken: settings.accessSeconds ?? 3600, RefreshToken: 86400, Grant: 86400, Session: 86400, Interaction: 600, IdToken: 3600, AuthorizationCode: 60, ClientCredentials: 600 },
  async loadExistingGrant(ctx) {
    const grant = new provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId });
    grant.addOIDCScope("openid email profile groups offline_access");
    for (const resource of Object.keys(ctx.oidc.resourceServers ?? {})) {
      grant.addResourceScope(resource, ["openid", "offline_access", ...(settings.scopes ?? [])].join(" "));
    }
    await grant.save();
    return grant;
  },
});

function body(request) {
  return new Promise((resolve) => {
    let text = "";
    request.on("data", (chunk) => { text += chunk; });
    request.on("end", () => resolve(new URLSearchParams(text)));
  });
}

// RFC 8693, as this provider's documentation says how to add a grant: an access token for another resource, or an
// identity assertion (ID-JAG) for another authorization server, out of a token that was given to the same client.
const TYPE = "urn:ietf:params:oauth:token-type:";
const EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange";
const parameters = ["subject_token", "subject_token_type", "requested_token_type", "resource", "audience", "scope"];
const invalid = (text) => Object.assign(new Error("invalid_grant"), {
  error: "invalid_grant", error_description: text, status: 400, statusCode: 400, expose: true,
});
let exchanges = 0;
if (settings.exchange) {
  provider.registerGrantType(EXCHANGE, async (ctx) => {
    const { client, params } = ctx.oidc;
    const account = await subjectOf(client, params);
    exchanges += 1;
    if (params.requested_token_type === `${TYPE}id-jag`) {
      ctx.body = {
        access_token: await assertion(client, params, account), issued_token_type: params.requested_token_type,
        token_type: "N_A", expires_in: 300,
      };
      return;
    }
    const server = new provider.ResourceServer(params.resource, {
      audience: params.resource, accessTokenFormat: "jwt", accessTokenTTL: settings.accessSeconds ?? 3600, scope: "openid",
    });
    const token = new provider.AccessToken({ client, accountId: account, grantId: "exchange", gty: "exchange", scope: "" });
    token.resourceServer = server;
    token.scope = "openid";
    ctx.body = {
      access_token: await token.save(), issued_token_type: `${TYPE}access_token`, token_type: "Bearer",
      expires_in: token.expiration,
    };
  }, parameters, []);
}

async function subjectOf(client, params) {
  if (params.subject_token_type === `${TYPE}id_token`) {
    const claims = JSON.parse(Buffer.from(params.subject_token.split(".")[1], "base64url"));
    if (claims.aud !== client.clientId || claims.exp < Date.now() / 1000) throw invalid("not yours, or over");
    return claims.sub;
  }
  const jwt = params.subject_token.split(".");
  const found = jwt.length === 3
    ? JSON.parse(Buffer.from(jwt[1], "base64url"))
    : await provider.AccessToken.find(params.subject_token);
  if (!found || (found.clientId ?? found.client_id) !== client.clientId) throw invalid("unknown subject token");
  if (found.exp < Date.now() / 1000) throw invalid("over");
  return found.accountId ?? found.sub;
}

async function assertion(client, params, account) {
  const privateKey = settings.key;
  const algorithm = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("jwk", privateKey, algorithm, false, ["sign"]);
  const now = Math.floor(Date.now() / 1000);
  const text = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const head = text({ alg: "RS256", typ: "oauth-id-jag+jwt", kid: privateKey.kid });
  const body = text({
    iss: issuer, sub: account, aud: params.audience, resource: params.resource, client_id: settings.vouchedClient,
    email: accounts[account].email, email_verified: true, jti: crypto.randomUUID(), iat: now, exp: now + 300,
  });
  const signature = await crypto.subtle.sign(algorithm, key, Buffer.from(`${head}.${body}`));
  return `${head}.${body}.${Buffer.from(signature).toString("base64url")}`;
}

const handler = provider.callback();
let refreshes = 0;
let reused = 0;
provider.on("grant.revoked", () => { reused += 1; });
provider.on("grant.success", (ctx) => { if (ctx.oidc.params.grant_type === "refresh_token") refreshes += 1; });

const server = http.createServer(async (request, response) => {
  const url = new URL(request.url, issuer);
  if (url.pathname === "/counts") {
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ refreshes, reused, exchanges }));
    return;
  }
  if (!url.pathname.startsWith("/interaction/")) return handler(request, response);
  try {
    if (request.method === "POST") {
      const form = await body(request);
      const found = form.get("login");
      const result = accounts[found] ? { login: { accountId: found } } : { error: "access_denied" };
      await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
      return;
    }
    const { prompt } = await provider.interactionDetails(request, response);
    if (prompt.name === "consent") {
      await provider.interactionFinished(request, response, { consent: {} }, { mergeWithLastSubmission: true });
      return;
    }
    response.setHeader("content-type", "text/html");
    response.end(`<h1>Sign in at the vendor</h1><form method="post" action="${url.pathname}"><input name="login"></form>`);
  } catch (error) {
    response.statusCode = 400;
    response.end(String(error));
  }
});
server.listen(settings.port, "127.0.0.1", () => console.log(`ready ${issuer}`));
provider.on("backchannel.error", (_, error) => console.log(`backchannel: ${error.message} ${error.cause ?? ""}`));
provider.on("backchannel.success", () => console.log("backchannel: told"));
