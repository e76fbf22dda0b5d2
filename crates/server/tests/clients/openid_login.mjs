// Logs somebody in at the provider of openid_provider.mjs for one of its clients, as a browser and that client would.
// Given: issuer, client, user. Gives the ID token, and the same claims as others would forge them.

import assert from 'node:assert/strict'
import { createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import * as client from 'openid-client'

const given = JSON.parse(process.argv[2])
const insecure = { execute: [client.allowInsecureRequests] }
const secret = `secret-of-${given.client}-which-is-long-enough`
const config = await client.discovery(new URL(given.issuer), given.client, secret, undefined, insecure)
client.enableNonRepudiationChecks(config)

const jar = new Map()
/** One request with the cookies so far; redirects are followed as long as they stay at the provider. */
async function browse(url, form) {
  for (;;) {
    const headers = { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') }
    const answer = await fetch(url, { method: form ? 'POST' : 'GET', body: form, headers, redirect: 'manual' })
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = line.match(/^([^=]+)=([^;]*)/)
      value ? jar.set(name, value) : jar.delete(name)
    }
    const location = answer.headers.get('location')
    if (!location) return { page: await answer.text(), status: answer.status }
    url = new URL(location, url)
    form = undefined
    if (!url.href.startsWith(given.issuer)) return { left: url }
  }
}

const checks = { pkceCodeVerifier: client.randomPKCECodeVerifier(), expectedState: client.randomState() }
let step = await browse(client.buildAuthorizationUrl(config, {
  redirect_uri: 'https://rp.example/callback',
  scope: 'openid',
  code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
  code_challenge_method: 'S256',
  state: checks.expectedState,
}))
while (!step.left) {
  assert.equal(step.status, 200, step.page)
  const [, action] = step.page.match(/<form[^>]*action="([^"]*)"/)
  const [, prompt] = step.page.match(/name="prompt" value="([^"]*)"/)
  step = await browse(new URL(action, given.issuer), new URLSearchParams({ prompt, login: given.user, password: 'any' }))
}
const tokens = await client.authorizationCodeGrant(config, step.left, checks)
const idToken = tokens.id_token
const [head, body, signature] = idToken.split('.')

const keySet = await (await fetch(config.serverMetadata().jwks_uri)).json()
const coded = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const header = JSON.parse(Buffer.from(head, 'base64url'))
const claims = JSON.parse(Buffer.from(body, 'base64url'))
const own = generateKeyPairSync('rsa', { modulusLength: 2048 })
const signed = (head, claims) => {
  const text = `${coded(head)}.${coded(claims)}`
  return `${text}.${sign('sha256', Buffer.from(text), own.privateKey).toString('base64url')}`
}
const hmac = (secret) => {
  const text = `${coded({ ...header, alg: 'HS256' })}.${body}`
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
}
const key = createPublicKey({ key: keySet.keys[0], format: 'jwk' })
const forged = {
  'no signature': `${head}.${body}.`,
  'alg none': `${coded({ ...header, alg: 'none' })}.${body}.`,
  'alg None, signature kept': `${coded({ ...header, alg: 'None' })}.${body}.${signature}`,
  'HMAC with the public key (PEM)': hmac(key.export({ type: 'spki', format: 'pem' })),
  'HMAC with the public key (DER)': hmac(key.export({ type: 'spki', format: 'der' })),
  'another key under the same kid': signed(header, claims),
  'another key that comes with the token': signed({ ...header, jwk: own.publicKey.export({ format: 'jwk' }) }, claims),
  'another subject, signature kept': `${head}.${coded({ ...claims, sub: 'somebody', email: 'somebody@op.example' })}.${signature}`,
  'an unknown critical header': signed({ ...header, crit: ['b64'], b64: false }, claims),
  'two parts': `${head}.${body}`,
  'nothing': '..',
}
console.log(JSON.stringify({ idToken, forged, claims }))
