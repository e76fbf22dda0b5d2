// Pages of two cells in a browser, where cell URLs are paths: a page of one cell attacks the account that the browser is logged
// in to at another; an application logs in honestly.
// Given: browser (program), unit, sandboxed (whether stored pages have an origin of their own), username, password, content.

import assert from 'node:assert/strict'
import puppeteer from 'puppeteer-core'

const given = JSON.parse(process.argv[2])
const unit = given.unit
const victim = `${unit}vb/`
const browser = await puppeteer.launch({
  executablePath: given.browser,
  headless: true,
  protocolTimeout: 60_000,
  args: ['--no-sandbox', '--disable-popup-blocking', '--disable-gpu', '--disable-dev-shm-usage'],
})

const authorization = (app, more = {}) => new URLSearchParams({
  response_type: 'code', client_id: `${unit}${app}/`, redirect_uri: `${unit}${app}/__/back.html`, state: 's', ...more,
}).toString()
const hasCode = text => /[?&#](code=GC(~|%7E)|access_token=)/i.test(text)

/** Logs in to the victim's cell, as its own page would; the browser keeps the cookie. */
async function logIn(context) {
  const page = await context.newPage()
  await page.goto(unit)
  const status = await page.evaluate(async (victim, username, password) => {
    const body = new URLSearchParams({ grant_type: 'password', username, password, p_cookie: 'true' })
    const response = await fetch(`${victim}__token`, { method: 'POST', body })
    return response.status
  }, victim, given.username, given.password)
  assert.equal(status, 200)
  const cookies = await context.cookies()
  const cookie = cookies.find(cookie => cookie.name === 'p_cookie')
  assert.ok(cookie, 'the browser has the cookie')
  assert.deepEqual([cookie.httpOnly, cookie.sameSite, cookie.path], [true, 'Lax', '/vb/'])
  await page.close()
}

/** Opens a page of the attacker; it must have an origin of its own, if stored pages are kept apart. */
async function openAttack(context, path) {
  const page = await context.newPage()
  await page.goto(`${unit}va/${path}`)
  assert.equal(await page.evaluate(() => window.origin), given.sandboxed ? 'null' : new URL(unit).origin, path)
  return page
}

/** Sends a request as a script of a page does. The browser asks the user for a password where a response wants one: that never ends. */
async function fetchedUrl(page, method, url, body) {
  return await page.evaluate(async (method, url, body) => {
    try {
      const response = await fetch(url, { method, body, credentials: 'include', signal: AbortSignal.timeout(5_000),
        headers: body ? { 'content-type': 'application/x-www-form-urlencoded' } : {} })
      return `${response.status} ${response.url} ${await response.text()}`
    } catch (error) {
      return `refused: ${error}`
    }
  }, method, url, body)
}

/** Requests of scripts, with the cookie of the victim as far as the browser sends it. */
async function attackByFetch(page) {
  console.error('requests of', page.url())
  for (const app of ['va', 'app']) {
    for (const more of [{}, { prompt: 'none' }, { response_type: 'token' }]) {
      const query = authorization(app, more)
      for (const [method, url, body] of [
        ['POST', `${victim}__authz`, query],
        ['GET', `${victim}__authz?${query}`, undefined],
      ]) {
        const found = await fetchedUrl(page, method, url, body)
        assert.ok(!hasCode(found), `${method} ${app}: ${found}`)
      }
    }
  }
  const file = await fetchedUrl(page, 'GET', `${victim}box/file`)
  assert.ok(!file.includes(given.content), file)
}

/** Frames and windows, whose content and address the page tries to read. */
async function attackByReading(page) {
  console.error('frames and windows of', page.url())
  for (const url of [`${victim}__authz?${authorization('app')}`, `${victim}__authz?${authorization('va')}`, `${victim}box/file`]) {
    for (const kind of ['frame', 'window']) {
      const read = await page.evaluate(async (kind, url) => {
        let opened
        if (kind === 'frame') {
          const frame = document.createElement('iframe')
          frame.src = url
          document.body.append(frame)
          opened = frame.contentWindow
        } else {
          opened = window.open(url)
        }
        const seen = []
        for (let n = 0; n < 15; n++) {
          await new Promise(resolve => setTimeout(resolve, 100))
          for (const look of [() => opened.location.href, () => opened.document.documentElement.outerHTML]) {
            try { seen.push(String(look())) } catch { /* The browser forbids it. */ }
          }
        }
        return seen.filter(text => text !== 'about:blank')
      }, kind, url)
      for (const text of read) {
        assert.ok(!hasCode(text) && !text.includes(given.content), `${kind} ${url}: ${text}`)
      }
    }
  }
}

/** A form that sends itself. */
async function attackByForm(page) {
  console.error('form of', page.url())
  const fields = Object.fromEntries(new URLSearchParams(authorization('va')))
  const arrived = page.waitForNavigation()
  await page.evaluate((action, fields) => {
    const form = document.createElement('form')
    Object.assign(form, { method: 'post', action })
    for (const [name, value] of Object.entries(fields)) {
      const input = document.createElement('input')
      Object.assign(input, { type: 'hidden', name, value })
      form.append(input)
    }
    document.body.append(form)
    // Later, so that this script ends before its page does.
    setTimeout(() => form.submit(), 50)
  }, `${victim}__authz`, fields)
  await arrived
  assert.ok(!hasCode(page.url()), page.url())
}

async function attackByStorage(page) {
  const reached = await page.evaluate(async () => {
    const tried = {
      cookie: () => document.cookie,
      storage: () => localStorage.length,
      worker: () => navigator.serviceWorker.register('worker.js'),
    }
    const reached = []
    for (const [name, attempt] of Object.entries(tried)) {
      try { await attempt(); reached.push(name) } catch { /* The browser forbids it. */ }
    }
    return reached
  })
  assert.deepEqual(reached, [])
}

/** The login of an application: from its page, by the form if there is one, to its page with the content of a file. */
async function logInToApp(context, expectForm) {
  const page = await context.newPage()
  await page.goto(`${unit}app/__/start.html`)
  await Promise.all([page.waitForNavigation(), page.click('#go')])
  if (expectForm) {
    assert.ok(page.url().startsWith(`${victim}__authz?`), page.url())
    await page.type('#username', given.username)
    await page.type('#password', given.password)
    await Promise.all([page.waitForNavigation(), page.click('button[type=submit]')])
  }
  assert.ok(page.url().startsWith(`${unit}app/__/back.html?`) && hasCode(page.url()), page.url())
  await page.waitForFunction(() => document.title !== 'working', { timeout: 20_000 })
  assert.equal(await page.title(), given.content)
  await page.close()
}

try {
  const context = await browser.createBrowserContext()
  await logInToApp(context, true)
  await logIn(context)
  await logInToApp(context, false)
  for (const path of ['__/attack.html', '__/attack.xhtml', '__/attack.svg', '']) {
    const page = await openAttack(context, path)
    await attackByFetch(page)
    if (given.sandboxed) await attackByStorage(page)
    await page.close()
  }
  const page = await openAttack(context, '__/attack.html')
  if (given.sandboxed) await attackByReading(page)
  await attackByForm(page)
  const own = await openAttack(context, '__/attack.html')
  await attackByForm(own)
  console.log(JSON.stringify({ done: true }))
} finally {
  await browser.close()
}
