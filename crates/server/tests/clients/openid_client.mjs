// openid-client as the relying party of a cell. Given: the cell, whether it names itself in its answers, the application,
// an account with its password, and a file that the account may read.

import assert from 'node:assert/strict'
import * as client from 'openid-client'

const given = JSON.parse(process.argv[2])
const redirectUri = `${given.app.id}__/callback`
// The unit of the test has no TLS.
const insecure = { execute: [client.allowInsecureRequests] }

/** What a browser does with the login form; gives where it is sent. */
async function logIn(url) {
  const page = await fetch(url)
  assert.equal(page.status, 200)
  const html = await page.text()
  const unescape = (text) =>
    text.replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')
  const [, action] = html.match(/<form method="post" action="([^"]*)"/)
  const fields = new URLSearchParams()
  for (const [, name, value] of html.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)) {
    fields.set(name, unescape(value))
  }
  fields.set('username', given.username)
  fields.set('password', given.password)
  const sent = await fetch(unescape(action), { method: 'POST', body: fields, redirect: 'manual' })
  assert.equal(sent.status, 303)
  return new URL(sent.headers.get('location'))
}

async function discovered(authentication) {
  const { id, secret } = given.app
  const config = await client.discovery(new URL(given.cell), id, {}, authentication(secret), insecure)
  // Code flow alone would trust TLS instead of the signature of the ID token.
  client.enableNonRepudiationChecks(config)
  return config
}

async function begin(config, more = {}) {
  const checks = {
    pkceCodeVerifier: client.randomPKCECodeVerifier(),
    expectedNonce: client.randomNonce(),
    expectedState: client.randomState(),
    idTokenExpected: true,
  }
  const url = client.buildAuthorizationUrl(config, {
    redirect_uri: redirectUri,
    scope: 'openid',
    code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
    code_challenge_method: 'S256',
    nonce: checks.expectedNonce,
    state: checks.expectedState,
    ...more,
  })
  return { checks, url }
}

for (const authentication of [client.ClientSecretBasic, client.ClientSecretPost]) {
  const config = await discovered(authentication)
  assert.ok(config.serverMetadata().supportsPKCE())
  assert.equal(config.serverMetadata().authorization_response_iss_parameter_supported, given.names_issuer)
  const { checks, url } = await begin(config)
  const back = await logIn(url)
  assert.ok(back.href.startsWith(`${redirectUri}?`), back.href)
  const tokens = await client.authorizationCodeGrant(config, back, checks)
  const claims = tokens.claims()
  assert.equal(claims.sub, given.username)
  assert.equal(claims.iss, given.cell)
  assert.equal(claims.aud, given.app.id)
  assert.equal(claims.nonce, checks.expectedNonce)

  const file = await client.fetchProtectedResource(config, tokens.access_token, new URL(given.file), 'GET')
  assert.equal(await file.text(), given.content)

  const fresh = await client.refreshTokenGrant(config, tokens.refresh_token)
  assert.notEqual(fresh.access_token, tokens.access_token)
  const introspected = await client.tokenIntrospection(config, fresh.access_token)
  assert.equal(introspected.active, true)
  assert.equal(introspected.sub, `${given.cell}#${given.username}`)

  // What belongs to another login is noticed.
  for (const wrong of ['expectedNonce', 'expectedState', 'pkceCodeVerifier']) {
    const again = await begin(config)
    const sent = await logIn(again.url)
    const other = { ...again.checks, [wrong]: client.randomPKCECodeVerifier() }
    await assert.rejects(client.authorizationCodeGrant(config, sent, other), wrong)
  }
  if (given.names_issuer) {
    const again = await begin(config)
    const sent = await logIn(again.url)
    sent.searchParams.set('iss', given.other.id)
    await assert.rejects(client.authorizationCodeGrant(config, sent, again.checks))
  }
}

// A refusal at the authorization endpoint arrives as one.
const config = await discovered(client.ClientSecretBasic)
const { checks, url } = await begin(config, { response_type: 'code id_token' })
const refusal = await fetch(url, { redirect: 'manual' })
const back = new URL(refusal.headers.get('location').replace('#', '?'))
await assert.rejects(client.authorizationCodeGrant(config, back, checks), (e) => e.error === 'unsupported_response_type')

// So does one at the token endpoint.
await assert.rejects(client.refreshTokenGrant(config, 'RR~nonsense'), (e) => e.error === 'invalid_grant')

// The implicit flow for an ID token alone, signed by the cell.
const implicit = await discovered(client.ClientSecretPost)
client.useIdTokenResponseType(implicit)
const nonce = client.randomNonce()
const state = client.randomState()
const asked = client.buildAuthorizationUrl(implicit, { redirect_uri: redirectUri, scope: 'openid', nonce, state })
const landed = await logIn(asked)
const claims = await client.implicitAuthentication(implicit, landed, nonce, { expectedState: state })
assert.equal(claims.sub, given.username)

console.log(JSON.stringify({ done: true }))
