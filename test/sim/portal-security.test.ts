import { networkInterfaces } from 'node:os'
import { connect } from 'node:net'
import { once } from 'node:events'
import { Portal } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { portalAssets } from '../support/portal-assets.ts'
import { ask, openPortal, Visitor } from './portal-visitor.ts'

const everything = ['/', '/enrollments', '/devices', '/portal.css', '/live.js', '/nowhere']

describe('who has no cookie', () => {
  it.each(everything)('sees nothing of %s', async (path) => {
    const { origin } = await openPortal()
    const answer = await ask(`${origin}${path}`)
    expect(answer).toMatchObject({
      status: 403,
      text: expect.stringContaining('whole address that was printed') as unknown,
    })
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  it.each(['', 'x', 'x'.repeat(43)])('gets none for the token "%s"', async (token) => {
    const { origin } = await openPortal()
    const answer = await ask(`${origin}/open?token=${token}`)
    expect(answer.status).toBe(403)
    expect(answer.headers['set-cookie']).toBeUndefined()
  })

  it('gets one for the right token, which scripts and other sites cannot use', async () => {
    const { portal } = await openPortal()
    const { status, headers } = await ask(portal.url)
    expect(status).toBe(303)
    expect(headers.location).toBe('/')
    const [cookie = ''] = headers['set-cookie'] ?? []
    expect(cookie.split('; ')).toEqual([
      expect.stringMatching(/^leafkeeper-portal-\d+=[\w-]{43}$/),
      'Path=/',
      'HttpOnly',
      'SameSite=Strict',
    ])
    expect(cookie).not.toContain(new URL(portal.url).searchParams.get('token'))
  })

  it('is not let in by the cookie of another portal', async () => {
    const [one, other] = [await openPortal(), await openPortal()]
    const { cookie } = await Visitor.enter(other.portal)
    const renamed = cookie.replace(/\d+=/, `${new URL(one.origin).port}=`)
    for (const name of [cookie, renamed]) {
      expect((await ask(one.origin, { headers: { cookie: name } })).status).toBe(403)
    }
  })
})

describe('a page whose own name leads to the loopback address', () => {
  it.each(['evil.test', 'evil.test:80', 'localhost', '127.0.0.1', '[::1]:80'])(
    'is refused with the Host header %s, cookie and token or not',
    async (host) => {
      const { portal, origin } = await openPortal()
      const { cookie } = await Visitor.enter(portal)
      expect((await ask(origin, { headers: { host, cookie } })).status).toBe(403)
      const entering = await ask(portal.url, { headers: { host } })
      expect(entering.status).toBe(403)
      expect(entering.headers['set-cookie']).toBeUndefined()
    },
  )

  it('is not mistaken for the portal under localhost', async () => {
    const { portal, origin } = await openPortal()
    const { cookie } = await Visitor.enter(portal)
    const host = `localhost:${new URL(origin).port}`
    expect((await ask(origin, { headers: { host, cookie } })).status).toBe(200)
  })
})

describe('a form', () => {
  const form = { 'content-type': 'application/x-www-form-urlencoded' }

  it.each([
    ['without a secret', ''],
    ['with a wrong secret', `csrf=${'x'.repeat(43)}`],
    ['with two secrets', 'csrf=x&csrf=y'],
  ])('is refused %s', async (_what, body) => {
    const { portal, origin } = await openPortal()
    const { cookie } = await Visitor.enter(portal)
    const answer = await ask(`${origin}/faults`, { method: 'POST', headers: { ...form, cookie }, body })
    expect(answer).toMatchObject({
      status: 403,
      text: expect.stringContaining('open its page again') as unknown,
    })
  })

  it.each(['PUT', 'DELETE', 'PATCH'])('is refused as %s', async (method) => {
    const { portal, origin } = await openPortal()
    const { cookie } = await Visitor.enter(portal)
    expect((await ask(`${origin}/faults`, { method, headers: { cookie } })).status).toBe(403)
  })
})

describe('every answer', () => {
  it.each(everything)('to %s forbids inline scripts, frames, other origins and caches', async (path) => {
    const { portal } = await openPortal()
    const { headers } = await (await Visitor.enter(portal)).see(path)
    expect(headers).toMatchObject({
      'content-security-policy':
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
  })

  it('has no inline script, style or handler, which the policy would silently drop', async () => {
    const { portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    for (const path of [
      '/',
      '/enrollments',
      '/certificates',
      '/registrations',
      '/devices',
      '/jobs',
      '/faults',
    ]) {
      const { status, text } = await visitor.see(path)
      expect(status).toBe(200)
      expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son\w+=|javascript:/i)
    }
  })
})

describe('the address', () => {
  it('is one of this machine alone', async () => {
    const { origin } = await openPortal()
    expect(new URL(origin).hostname).toBe('127.0.0.1')
    const others = Object.values(networkInterfaces()).flatMap((one) => one ?? [])
    // Whoever listens on all addresses listens on this one too.
    const elsewhere = ['127.0.0.2', ...others.filter((one) => !one.internal).map(({ address }) => address)]
    for (const host of elsewhere) {
      const socket = connect({ host, port: Number(new URL(origin).port) })
      const isReached = await once(socket, 'connect').then(
        () => true,
        () => false,
      )
      socket.destroy()
      expect([host, isReached]).toEqual([host, false])
    }
  })

  it('is said when it cannot be had', async () => {
    const { cloud, origin } = await openPortal()
    const { port } = new URL(origin)
    await expect(Portal.start(cloud, { port: Number(port), assets: portalAssets() })).rejects.toThrow(
      `The portal cannot listen on 127.0.0.1:${port}: Error: listen EADDRINUSE`,
    )
  })
})
