import { describe, expect, it } from 'vitest'
import { agentMethods, type MethodTarget } from '../../src/agent/methods.ts'
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

function target(obstacle?: string): MethodTarget & { readonly did: unknown[] } {
  const did: unknown[] = []
  return {
    did,
    status: () => status,
    reprovision: () => void did.push('reprovision'),
    rollObstacle: () => obstacle,
    beginRoll: (request) => void did.push(request),
  }
}

describe('direct methods', () => {
  it('reprovision answers before it acts', async () => {
    const agent = target()
    const answer = await agentMethods(agent, {})({ name: 'reprovision', payload: undefined })
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
    const answer = await agentMethods(agent, {})({ name: 'rollCertificate', payload })
    expect(answer.status).toBe(expected)
    answer.afterwards?.()
    expect(agent.did).toEqual(request === undefined ? [] : [request])
  })

  it('rollCertificate says why it cannot begin', async () => {
    const answer = await agentMethods(
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
    const answer = await agentMethods(target(), {})({ name: 'getCertificateStatus', payload: undefined })
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
    const handle = agentMethods(target(), { blink: (payload) => ({ status: 201, payload }) })
    expect(await handle({ name: 'blink', payload: 3 })).toEqual({ status: 201, payload: 3 })
    const unknown = await handle({ name: 'toString', payload: undefined })
    expect(unknown.status).toBe(404)
    expect(JSON.stringify(unknown.payload)).toContain(
      'reprovision, rollCertificate, getCertificateStatus, blink',
    )
  })

  it("does not let an application take leafkeeper's own names", () => {
    expect(() => agentMethods(target(), { reprovision: () => ({ status: 200, payload: null }) })).toThrow(
      expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }) as Error,
    )
  })
})
