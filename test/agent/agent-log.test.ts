import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeviceAgent, functionIssuer, LeafkeeperError, Secret } from 'leafkeeper'
import { logLines, type LogLine } from '../support/log-lines.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createEnrollingWorld, createWorld, next, quickPolicy } from '../support/world.ts'

const anyText = expect.any(String) as unknown
const anyDuration = expect.any(Number) as unknown

/** A line without what pino adds, and in the order of its names. */
function story(lines: readonly LogLine[]): unknown[] {
  return lines.map(({ time: _time, ...line }) => line)
}

describe('the log of an agent', () => {
  it('tells the life of a device line by line: first certificate, roll, stop', async () => {
    const world = await createEnrollingWorld('device-log')
    const { logger, lines, text } = logLines()
    const agent = await world.startAgent('device-log', { logger, policy: { ...quickPolicy, overlapMs: 0 } })
    await agent.connected()
    const retired = next(agent, 'retired')
    await agent.roll()
    await retired
    await agent.stop()

    const everyLine = lines().filter(({ event }) => event !== 'hsmCall' && event !== 'transition')
    const of = (event: string, level: string, msg: string, fields: object): object => ({
      level,
      event,
      registrationId: 'device-log',
      ...fields,
      msg,
    })
    const hub = agent.state.assignment?.hub
    const assigned = { hub, deviceId: 'device-log' }
    const first = world.leaf(0).thumbprint
    const second = world.leaf(1).thumbprint
    const connected = 'The device is connected.'
    const staged = 'A new certificate is on the token and waits to be accepted.'
    const registered = 'DPS has assigned the device to a hub.'
    const rolled = 'The certificate is rolled.'
    const roll = { requestId: anyText, notAfter: anyText, durationMs: anyDuration }
    expect(story(everyLine)).toEqual([
      of('started', 'info', 'The agent starts.', {
        version: expect.stringMatching(/^\d+\.\d+\.\d+/) as unknown,
        module: world.hsm.module,
        label: world.hsm.label,
        serial: anyText,
      }),
      of('staged', 'info', staged, { generation: 1, thumbprint: first }),
      of('registered', 'info', registered, { generation: 1, ...assigned, substatus: 'initialAssignment' }),
      of('connected', 'info', connected, { generation: 1, ...assigned, thumbprint: first }),
      of('rolled', 'info', rolled, {
        ...roll,
        mode: 'bootstrap',
        generation: 1,
        oldThumbprint: null,
        thumbprint: first,
        blackoutMs: null,
      }),
      of('staged', 'info', staged, { generation: 2, thumbprint: second }),
      of('registered', 'info', registered, {
        generation: 2,
        ...assigned,
        substatus: 'reprovisionedToInitialAssignment',
      }),
      of('connected', 'info', connected, { generation: 2, ...assigned, thumbprint: second }),
      of('rolled', 'info', rolled, {
        ...roll,
        mode: 'expiry',
        generation: 2,
        oldThumbprint: first,
        thumbprint: second,
        blackoutMs: anyDuration,
      }),
      of('retired', 'info', 'An old key has left the token.', { generation: 1 }),
      of('stopped', 'info', 'The agent has stopped.', {}),
    ])

    const phases = lines('transition').map(({ region, from, phase }) => [region, from, phase].join(' '))
    expect(phases).toContain('roll generating requesting')
    expect(phases.at(-1)).toBe('connection connected offline')
    const operations = lines('hsmCall').map(({ operation }) => operation)
    expect(new Set(operations)).toEqual(new Set(['find', 'generate', 'sign', 'store', 'destroy']))
    expect(lines('hsmCall').every(({ level, code }) => level === 'debug' && code === null)).toBe(true)
    expect(text()).not.toContain(world.hsm.pin.reveal())
    expect(text()).not.toContain('PRIVATE KEY')
  })

  it('tells why a roll was given up, and that the device is refused and asks again', async () => {
    const world = await createWorld()
    const { logger, lines } = logLines()
    const agent = await world.startAgent('device-log-refused', { logger })
    // Nothing is enrolled: DPS refuses the first certificate.
    await next(agent, 'retry')
    expect(lines('problem')[0]).toMatchObject({
      level: 'error',
      during: 'register',
      code: 'DPS_UNAUTHORIZED',
      retryable: false,
      error: anyText,
    })
    expect(lines('transition').find(({ phase }) => phase === 'refused')).toMatchObject({
      level: 'error',
      code: 'DPS_UNAUTHORIZED',
      error: anyText,
      msg: 'Hub and DPS refuse the device; it keeps its keys and asks again slowly.',
    })
    expect(lines('retry')[0]).toMatchObject({ level: 'info', what: 'connection', code: 'DPS_UNAUTHORIZED' })
  })

  it('tells of an issuer that refuses', async () => {
    const world = await createWorld()
    const { logger, lines } = logLines()
    const issuer = functionIssuer('sour', () => Promise.reject(new LeafkeeperError('ISSUER_REFUSED')))
    const agent = await world.startAgent('device-log-issuer', { logger, issuer })
    await next(agent, 'retry', ({ what }) => what === 'roll')
    expect(lines('rollFailed')).toMatchObject([
      { level: 'error', code: 'ISSUER_REFUSED', msg: 'The roll was given up; the certificate in use stays.' },
    ])
  })

  it('tells that the agent could not be started, without the PIN', async () => {
    const world = await createWorld()
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'pin'), '')
    const { logger, lines, text } = logLines()
    const wrong = new Secret('nine-lives-7')
    const { token } = world.agentOptions('device-log-start')
    const start = (pin: typeof token.pin): Promise<DeviceAgent> =>
      DeviceAgent.start(world.agentOptions('device-log-start', { logger, token: { ...token, pin } }))
    await expect(start({ file: join(folder, 'pin') })).rejects.toMatchObject({ code: 'HSM_PIN_MISSING' })
    await expect(start({ callback: () => wrong })).rejects.toMatchObject({ code: 'HSM_PIN_INCORRECT' })
    expect(lines()).toMatchObject([
      { event: 'startFailed', level: 'error', code: 'HSM_PIN_MISSING', registrationId: 'device-log-start' },
      {
        event: 'startFailed',
        level: 'error',
        code: 'HSM_PIN_INCORRECT',
        msg: 'The agent could not be started.',
      },
    ])
    expect(text()).not.toContain(wrong.reveal())
  })
})
