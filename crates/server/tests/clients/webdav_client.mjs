// The npm package `webdav` on a folder of a box: reads the URL, name and password from its first argument, and prints what it
// saw.
import { AuthType, createClient } from 'webdav'

const { url, user, password } = JSON.parse(process.argv[2])
const client = createClient(url, { authType: AuthType.Password, username: user, password })
const seen = {}

await client.createDirectory('/My Documents')
await client.createDirectory('/My Documents/日本語 😀')
seen.written = await client.putFileContents('/My Documents/note one.txt', 'first', { overwrite: false })
seen.refused = await client.putFileContents('/My Documents/note one.txt', 'second', { overwrite: false })
seen.kept = await client.getFileContents('/My Documents/note one.txt', { format: 'text' })
seen.replaced = await client.putFileContents('/My Documents/note one.txt', 'third', { overwrite: true })
await client.putFileContents('/My Documents/empty', '')
await client.putFileContents('/My Documents/日本語 😀/深い.txt', 'deep')
const names = (items) => items.map((item) => [item.basename, item.type, item.size]).sort()
seen.listed = names(await client.getDirectoryContents('/My Documents'))
seen.deep = names(await client.getDirectoryContents('/', { deep: true }))
const stat = await client.stat('/My Documents/note one.txt')
seen.etag = Boolean(stat.etag)
seen.modified = !Number.isNaN(Date.parse(stat.lastmod))
seen.exists = [await client.exists('/My Documents/empty'), await client.exists('/nothing here')]
await client.moveFile('/My Documents/note one.txt', '/My Documents/note two.txt')
seen.moved = await client.getFileContents('/My Documents/note two.txt', { format: 'text' })
await client.deleteFile('/My Documents/note two.txt')
seen.left = names(await client.getDirectoryContents('/My Documents'))
console.log(JSON.stringify(seen))
