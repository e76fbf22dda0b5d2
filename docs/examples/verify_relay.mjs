// Verifies a request that a rule of a cell has sent, with Node alone.
//
//     node verify_relay.mjs REQUEST_FILE URL CERTS_FILE CELL_URL
//
// The first file is the request as it arrived, the second the answer of {cell}__certs. Prints `valid` or the reason.

import { createHash, createPublicKey, verify } from 'node:crypto'
import { readFileSync } from 'node:fs'

const COVERED = ['@method', '@target-uri', 'content-digest', 'content-type']
const MAX_AGE_SECS = 300
const seenNonces = new Set() // Shared by all processes of a receiver, and kept for MAX_AGE_SECS.

// `headers` has names in lower case, as in Node. `keys` are those of one cell, which a receiver fetches by HTTPS.
export function verifyRelay({ method, url, headers, body }, cellUrl, keys) {
  const digest = createHash('sha256').update(body).digest('base64')
  if (headers['content-digest'] !== `sha-256=:${digest}:`) throw new Error('the body has another digest')
  const [, parameters] = /(?:^|, *)personium=(\([^)]*\)(?:;[a-z]+=(?:\d+|"[^"]*"))*)/.exec(headers['signature-input'])
  const [, signature] = /(?:^|, *)personium=:([A-Za-z0-9+/=]+):/.exec(headers.signature)
  const names = [...parameters.slice(0, parameters.indexOf(')')).matchAll(/"([^"]*)"/g)].map(match => match[1])
  if (!COVERED.every(name => names.includes(name))) throw new Error('the signature covers too little')
  const parameter = name => new RegExp(`;${name}=(?:(\\d+)|"([^"]*)")`).exec(parameters)?.slice(1).find(text => text)
  const age = Date.now() / 1000 - Number(parameter('created'))
  if (!(Math.abs(age) <= MAX_AGE_SECS)) throw new Error('the signature is too old')
  if (parameter('tag') !== 'personium-relay') throw new Error('a signature for another purpose')
  if (parameter('alg') !== 'rsa-v1_5-sha256') throw new Error('another algorithm')
  const [certsUrl, kid] = parameter('keyid').split('#')
  const key = keys.find(key => key.kid === kid)
  if (certsUrl !== `${cellUrl}__certs` || !key) throw new Error('the key of another cell')
  const values = { '@method': method, '@target-uri': url }
  const lines = names.map(name => `"${name}": ${values[name] ?? headers[name]}`)
  const base = [...lines, `"@signature-params": ${parameters}`].join('\n')
  const publicKey = createPublicKey({ key, format: 'jwk' })
  if (!verify('sha256', Buffer.from(base), publicKey, Buffer.from(signature, 'base64'))) throw new Error('not signed by the cell')
  if (seenNonces.has(parameter('nonce'))) throw new Error('the request was repeated')
  seenNonces.add(parameter('nonce'))
}

const [requestFile, url, certsFile, cellUrl] = process.argv.slice(2)
const request = readFileSync(requestFile)
const end = request.indexOf('\r\n\r\n')
const [first, ...lines] = request.subarray(0, end).toString().split('\r\n')
const headers = Object.fromEntries(lines.map(line => {
  const at = line.indexOf(': ')
  return [line.slice(0, at).toLowerCase(), line.slice(at + 2)]
}))
const { keys } = JSON.parse(readFileSync(certsFile))
try {
  verifyRelay({ method: first.split(' ')[0], url, headers, body: request.subarray(end + 4) }, cellUrl, keys)
  console.log('valid')
} catch (error) {
  console.log('refused:', error.message)
}
