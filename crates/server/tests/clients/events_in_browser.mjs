// A page of a box in a browser listens to the events of its cell, over a WebSocket and over Server-Sent Events, and shows them.
// Given: browser (program), cell (URL), page (URL), username, password.

import assert from 'node:assert/strict'
import puppeteer from 'puppeteer-core'

const given = JSON.parse(process.argv[2])
const browser = await puppeteer.launch({
  executablePath: given.browser,
  headless: true,
  protocolTimeout: 60_000,
  args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
})
try {
  const page = await browser.newPage()
  await page.goto(`${given.page}#${new URLSearchParams({ username: given.username, password: given.password })}`)
  const shows = async (list, texts) => {
    await page.waitForFunction((list, count) => document.querySelectorAll(`#${list} li`).length >= count, {}, list, texts.length)
    const shown = await page.$$eval(`#${list} li`, items => items.map(item => item.textContent))
    assert.deepEqual(shown, texts)
  }
  await page.waitForFunction(() => document.title !== 'working')
  assert.equal(await page.title(), 'listening')
  const token = await page.evaluate(() => window.token)
  const put = async name => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'text/plain' }
    const response = await fetch(`${given.cell}box/${name}`, { method: 'PUT', headers, body: 'content' })
    assert.equal(response.status, 201)
  }
  const created = name => `davfile.create ${given.cell}box/${name}`
  await put('first')
  await shows('socket', [created('first')])
  await shows('stream', [created('first')])
  // The page posts an event itself, which nobody has subscribed to, and then writes.
  await page.evaluate(() => window.socket.send(JSON.stringify({ Type: 'other', Object: 'o', Info: 'i' })))
  await put('second')
  await shows('socket', [created('first'), created('second')])
  await shows('stream', [created('first'), created('second')])
  console.log(JSON.stringify({ done: true }))
} finally {
  await browser.close()
}
