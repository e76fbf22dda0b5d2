// oidc-provider on a port of this machine. Given: `port` (0 is any), `jwks` (private keys; new ones if absent), `issuer`
// (else its own address), and `tls` with key and certificate. Prints its issuer, port and keys.

import { generateKeyPairSync, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import { Provider } from 'oidc-provider'

const given = JSON.parse(process.argv[2])

function newKey() {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  return { ...privateKey.export({ format: 'jwk' }), kid: randomUUID(), alg: 'RS256', use: 'sig' }
}

const jwks = given.jwks ?? { keys: [newKey()] }
const client = (id) => ({
  client_id: id,
  client_secret: `secret-of-${id}-which-is-long-enough`,
  redirect_uris: ['https://rp.example/callback'],
})

let handle
const server = given.tls
  ? https.createServer({ key: readFileSync(given.tls.key), cert: readFileSync(given.tls.certificate) }, (q, a) => handle(q, a))
  : http.createServer((q, a) => handle(q, a))
await new Promise((resolve) => server.listen(given.port ?? 0, '127.0.0.1', resolve))
const { port } = server.address()
const issuer = (given.issuer ?? 'http://127.0.0.1:PORT').replace('PORT', port)

const provider = new Provider(issuer, {
  jwks,
  clients: [client('our-app'), client('other-app'), client('brief-app')],
  // The claims that name people stand in the ID token itself.
  conformIdTokenClaims: false,
  claims: { openid: ['sub', 'email', 'email_verified'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@op.example`, email_verified: !id.startsWith('unverified') }),
  }),
  cookies: { keys: ['a-key-of-the-test'] },
  ttl: {
    IdToken: (_, __, client) => (client.clientId === 'brief-app' ? 1 : 3600),
    AccessToken: 60, Grant: 3600, Interaction: 600, Session: 3600,
  },
})
handle = provider.callback()
console.log(JSON.stringify({ issuer, port, jwks }))
