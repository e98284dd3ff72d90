import { describe, expect, it } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import {
  agentMethods,
  type MethodPipeline,
  type MethodTarget,
  type MethodTable,
} from '../../src/agent/methods.ts'
import type { MethodHandler } from '../../src/hub/hub-transport.ts'
import type { AgentStatus } from '../../src/agent/status.ts'

const status: AgentStatus = {
  registrationId: 'gateway-7',
  connection: 'connected',
  roll: 'idle',
  assignment: { hub: 'hub-a.azure-devices.net', deviceId: 'gateway-7' },
  active: { generation: 3, commonName: 'gateway-7', thumbprint: 'AB', notBefore: 0, notAfter: 86_400_000 },
  generations: [3],
  nextRoll: null,
  token: { module: '/lib/module.so', label: 'gateway', serial: '1', manufacturer: 'm', model: 'n' },
  unacknowledged: 0,
  lastError: null,
}

function target(obstacle?: string): MethodTarget & MethodPipeline & { readonly did: unknown[] } {
  const did: unknown[] = []
  return {
    did,
    status: () => status,
    reprovision: () => void did.push('reprovision'),
    rollObstacle: () => obstacle,
    beginRoll: (request) => void did.push(request),
    rollWithin: (window) => void did.push(window),
    request: (request) => {
      if (obstacle !== undefined)
        return Promise.reject(new LeafkeeperError('AGENT_STATE_INVALID', { message: obstacle }))
      did.push(request)
      return Promise.resolve({ requestId: 'r-1', generation: 4, csr: 'CSR' })
    },
    check: (chain) => {
      if (chain === 'foreign') return Promise.reject(new LeafkeeperError('CERT_KEY_MISMATCH'))
      if (obstacle !== undefined)
        return Promise.reject(new LeafkeeperError('AGENT_STATE_INVALID', { message: obstacle }))
      const certificate = { commonName: 'gateway-7', thumbprint: 'CD', notBefore: 0, notAfter: 86_400_000 }
      return Promise.resolve({ generation: 4, chain, certificate })
    },
    take: ({ chain }) => {
      did.push(chain)
      return Promise.resolve()
    },
  }
}

const methodsOf = (agent: ReturnType<typeof target>, application: MethodTable): MethodHandler =>
  agentMethods(agent, agent, application)

describe('direct methods', () => {
  it('reprovision answers before it acts', async () => {
    const agent = target()
    const answer = await methodsOf(agent, {})({ name: 'reprovision', payload: undefined })
    expect(answer).toMatchObject({ status: 200, payload: { accepted: true } })
    expect(agent.did).toEqual([])
    answer.afterwards?.()
    expect(agent.did).toEqual(['reprovision'])
  })

  const rolls: [payload: unknown, status: number, request: unknown][] = [
    [undefined, 200, { mode: 'expiry' }],
    [null, 200, { mode: 'expiry' }],
    [{}, 200, { mode: 'expiry' }],
    [{ mode: 'breach' }, 200, { mode: 'breach' }],
    [{ mode: 'expiry', keyType: 'RSA-2048' }, 200, { mode: 'expiry', keyType: 'RSA-2048' }],
    [{ mode: 'bootstrap' }, 400, undefined],
    [{ keyType: 'EC-P512' }, 400, undefined],
    ['breach', 400, undefined],
    [17, 400, undefined],
  ]

  it.each(rolls)('rollCertificate with %j answers %i', async (payload, expected, request) => {
    const agent = target()
    const answer = await methodsOf(agent, {})({ name: 'rollCertificate', payload })
    expect(answer.status).toBe(expected)
    answer.afterwards?.()
    expect(agent.did).toEqual(request === undefined ? [] : [request])
  })

  const window = { start: '2026-05-01T08:00:00Z', end: '2026-05-01T10:30:00+02:00' }
  const windows: [payload: unknown, status: number, told: unknown][] = [
    [
      { window },
      200,
      { mode: 'expiry', start: new Date('2026-05-01T08:00Z'), end: new Date('2026-05-01T08:30Z') },
    ],
    [
      { window: { ...window, end: window.start }, mode: 'breach' },
      200,
      { mode: 'breach', start: new Date('2026-05-01T08:00Z'), end: new Date('2026-05-01T08:00Z') },
    ],
    [{ window: null }, 400, undefined],
    [{ window: { start: window.start } }, 400, undefined],
    [{ window: { start: window.end, end: window.start } }, 400, undefined],
    [{ window: { ...window, end: '2026-05-01T10:30:00' } }, 400, undefined],
    [{ window: { ...window, end: '2026-13-01T10:30:00Z' } }, 400, undefined],
    [{ window: { ...window, end: 1_777_622_400_000 } }, 400, undefined],
    [{ window, keyType: 'EC-P256' }, 400, undefined],
  ]

  it.each(windows)('rollCertificate with %j answers %i', async (payload, expected, told) => {
    const agent = target('A roll is under way, which is no obstacle to a window.')
    const answer = await methodsOf(agent, {})({ name: 'rollCertificate', payload })
    expect(answer.status).toBe(expected)
    answer.afterwards?.()
    expect(agent.did).toEqual(told === undefined ? [] : [told])
  })

  it('createCertificateRequest answers with the request', async () => {
    const agent = target()
    const handle = methodsOf(agent, {})
    const answer = await handle({ name: 'createCertificateRequest', payload: { mode: 'breach' } })
    expect(answer).toEqual({ status: 200, payload: { requestId: 'r-1', generation: 4, csr: 'CSR' } })
    expect(agent.did).toEqual([{ mode: 'breach' }])
    expect(await handle({ name: 'createCertificateRequest', payload: { mode: 'no' } })).toMatchObject({
      status: 400,
    })
  })

  it('installCertificate answers before it acts', async () => {
    const agent = target()
    const answer = await methodsOf(agent, {})({ name: 'installCertificate', payload: { chain: 'PEM' } })
    expect(answer).toMatchObject({
      status: 200,
      payload: { accepted: true, generation: 4, thumbprint: 'CD', notAfter: '1970-01-02T00:00:00.000Z' },
    })
    expect(agent.did).toEqual([])
    answer.afterwards?.()
    expect(agent.did).toEqual(['PEM'])
  })

  it.each<[string, unknown, number, string | undefined]>([
    ['createCertificateRequest', {}, 409, 'AGENT_STATE_INVALID'],
    ['installCertificate', { chain: 'PEM' }, 409, 'AGENT_STATE_INVALID'],
    ['installCertificate', { chain: 'foreign' }, 400, 'CERT_KEY_MISMATCH'],
    ['installCertificate', { chain: 17 }, 400, undefined],
    ['installCertificate', 'PEM', 400, undefined],
    ['installCertificate', undefined, 400, undefined],
  ])('%s with %j says what does not fit', async (name, payload, status, code) => {
    const agent = target('A roll is already staged.')
    const answer = await methodsOf(agent, {})({ name, payload })
    expect(answer).toMatchObject({
      status,
      payload: { accepted: false, ...(code === undefined ? {} : { code }) },
    })
    expect(answer.afterwards).toBeUndefined()
    expect(agent.did).toEqual([])
  })

  it('rollCertificate says why it cannot begin', async () => {
    const answer = await methodsOf(
      target('A roll is already staged.'),
      {},
    )({
      name: 'rollCertificate',
      payload: {},
    })
    expect(answer).toMatchObject({
      status: 409,
      payload: { accepted: false, message: 'A roll is already staged.' },
    })
    expect(answer.afterwards).toBeUndefined()
  })

  it('getCertificateStatus gives dates as text and no path of the machine', async () => {
    const answer = await methodsOf(target(), {})({ name: 'getCertificateStatus', payload: undefined })
    expect(answer).toMatchObject({
      status: 200,
      payload: {
        certificate: { generation: 3, notAfter: '1970-01-02T00:00:00.000Z' },
        hub: 'hub-a.azure-devices.net',
      },
    })
    expect(JSON.stringify(answer.payload)).not.toContain('/lib/')
  })

  it("calls the application's own methods, and names all where one is unknown", async () => {
    const handle = methodsOf(target(), { blink: (payload) => ({ status: 201, payload }) })
    expect(await handle({ name: 'blink', payload: 3 })).toEqual({ status: 201, payload: 3 })
    const unknown = await handle({ name: 'toString', payload: undefined })
    expect(unknown.status).toBe(404)
    expect(JSON.stringify(unknown.payload)).toContain(
      'reprovision, rollCertificate, createCertificateRequest, installCertificate, getCertificateStatus, blink',
    )
  })

  it("does not let an application take leafkeeper's own names", () => {
    expect(() => methodsOf(target(), { reprovision: () => ({ status: 200, payload: null }) })).toThrow(
      expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }) as Error,
    )
  })
})
