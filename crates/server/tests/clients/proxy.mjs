// proxy-chain as an HTTP proxy that resolves one more name than this machine. Given: `name`, which is this machine, and who may
// use it. Prints its port, and a second one that lists the requests.

import http from 'node:http'
import { once } from 'node:events'
import { Server } from 'proxy-chain'

const given = JSON.parse(process.argv[2])
const asked = []
const proxy = new Server({
  port: 0,
  host: '127.0.0.1',
  prepareRequestFunction({ hostname, port, username, password, isHttp }) {
    const known = username === given.user && password === given.password
    asked.push({ way: isHttp ? 'whole URL' : 'CONNECT', host: hostname, port, known })
    return {
      requestAuthentication: !known,
      dnsLookup(name, options, done) {
        if (name !== given.name) return done(new Error(`no address of ${name}`))
        return options.all ? done(null, [{ address: '127.0.0.1', family: 4 }]) : done(null, '127.0.0.1', 4)
      },
    }
  },
})
await proxy.listen()

const list = http.createServer((_, answer) => answer.end(JSON.stringify(asked)))
list.listen(0, '127.0.0.1')
await once(list, 'listening')
console.log(JSON.stringify({ port: proxy.port, requestsPort: list.address().port }))
