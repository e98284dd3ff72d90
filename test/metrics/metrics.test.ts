import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { createMetrics, DeviceAgent, functionIssuer, LeafkeeperError, type AgentMetrics } from 'leafkeeper'
import { metricTable, type MetricRow } from '../../src/metrics/metric-table.ts'
import { createEnrollingWorld, createWorld, next, quickPolicy } from '../support/world.ts'
import { readExposition } from './exposition.ts'

/** Reads a metric by some of its labels; `undefined` where there is no such sample. */
async function readMetric(
  metrics: AgentMetrics,
  name: string,
  labels: Readonly<Record<string, string>> = {},
): Promise<number | undefined> {
  const samples = readExposition(await metrics.text())
  return samples.find(
    (sample) =>
      sample.name === `leafkeeper_${name}` &&
      Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  )?.value
}

describe('metrics', () => {
  it('of a device that gets its first certificate, rolls, and is stopped', async () => {
    const now = Date.now()
    const metrics = await createMetrics(() => now)
    const world = await createEnrollingWorld('device-m')
    const agent = await world.startAgent('device-m', { metrics, policy: { ...quickPolicy, overlapMs: 0 } })
    const id = { registration_id: 'device-m' }
    await agent.connected()
    const retired = next(agent, 'retired')
    const { notAfter } = await agent.roll()
    await retired

    const read = (name: string, labels: object = {}): Promise<number | undefined> =>
      readMetric(metrics, name, { ...id, ...labels })
    expect(await read('agent_info', { module: world.hsm.module, token_label: world.hsm.label })).toBe(1)
    expect(await read('connection_phase', { phase: 'connected' })).toBe(1)
    expect(await read('connection_phase', { phase: 'halted' })).toBe(0)
    expect(await read('rolls_total', { mode: 'bootstrap', result: 'succeeded' })).toBe(1)
    expect(await read('rolls_total', { mode: 'expiry', result: 'succeeded' })).toBe(1)
    expect(await read('rolls_total', { mode: 'breach', result: 'succeeded' })).toBe(0)
    expect(await read('roll_duration_seconds_count', { mode: 'expiry' })).toBe(1)
    expect(await read('roll_blackout_seconds_count')).toBe(1)
    expect(await read('outbox_messages')).toBe(0)
    const seconds = notAfter.getTime() / 1_000
    for (const certificate of ['leaf', 'chain']) {
      expect(await read('certificate_not_after_timestamp_seconds', { certificate })).toBe(seconds)
      expect(await read('certificate_expires_in_seconds', { certificate })).toBeCloseTo(
        seconds - now / 1_000,
        3,
      )
    }
    expect(await read('next_roll_timestamp_seconds')).toBeGreaterThan(now / 1_000)
    const calls: [operation: string, count: number][] = [
      ['generate', 2],
      ['sign', 2],
      ['store', 2],
      ['destroy', 1],
    ]
    for (const [operation, count] of calls)
      expect(await read('hsm_call_duration_seconds_count', { operation, result: 'succeeded' })).toBe(count)

    await agent.stop()
    expect(await read('connection_phase', { phase: 'offline' })).toBe(1)
    expect(await read('connection_phase', { phase: 'connected' })).toBe(0)
    expect(await read('rolls_total', { mode: 'expiry', result: 'succeeded' })).toBe(1)
    expect(await metrics.text()).not.toContain(world.hsm.pin.reveal())
  })

  it('of several agents in one process, apart from those of other agents', async () => {
    const world = await createWorld()
    const [metrics, others] = await Promise.all([createMetrics(), createMetrics()])
    const sour = functionIssuer('sour', () => Promise.reject(new LeafkeeperError('ISSUER_REFUSED')))
    const refused = await world.startAgent('device-m1', { metrics })
    const withoutIssuer = await world.startAgent('device-m2', { metrics, issuer: sour })
    await Promise.all([next(refused, 'retry'), next(withoutIssuer, 'retry')])

    const one = { registration_id: 'device-m1' }
    const two = { registration_id: 'device-m2' }
    const read = (name: string, labels: Readonly<Record<string, string>>): Promise<number | undefined> =>
      readMetric(metrics, name, labels)
    expect(await read('connection_phase', { ...one, phase: 'refused' })).toBe(1)
    expect(await read('errors_total', { ...one, during: 'register', code: 'DPS_UNAUTHORIZED' })).toBe(1)
    expect(await read('retries_total', { ...one, what: 'connection' })).toBe(1)
    expect(await read('errors_total', { ...two, code: 'DPS_UNAUTHORIZED' })).toBeUndefined()
    expect(await read('rolls_total', { ...two, result: 'failed', code: 'ISSUER_REFUSED' })).toBe(1)
    expect(await read('retries_total', { ...two, what: 'roll' })).toBe(1)
    expect(readExposition(await others.text())).toEqual([])
  })

  it('of a start that failed', async () => {
    const world = await createWorld()
    const metrics = await createMetrics()
    const { token } = world.agentOptions('device-m3')
    const unset = { ...token, pin: { env: 'LEAFKEEPER_TEST_UNSET_PIN' } }
    const started = DeviceAgent.start(world.agentOptions('device-m3', { metrics, token: unset }))
    await expect(started).rejects.toMatchObject({ code: 'HSM_PIN_MISSING' })
    const labels = { registration_id: 'device-m3', code: 'HSM_PIN_MISSING' }
    expect(await readMetric(metrics, 'start_failures_total', labels)).toBe(1)
  })

  it('stand in docs/metrics.md as they are', async () => {
    const text = await readFile(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
    const rows = text
      .split('\n')
      .filter((line) => line.startsWith('| `leafkeeper_'))
      .map((line) =>
        line
          .split('|')
          .slice(1, -1)
          .map((cell) => cell.trim()),
      )
    const expected = Object.entries<MetricRow>(metricTable).map(([name, { type, labels, help }]) => [
      `\`leafkeeper_${name}\``,
      type,
      labels.map((each) => `\`${each}\``).join(', '),
      help,
    ])
    expect(rows).toEqual(expected)
  })
})

describe('the check of the text format', () => {
  const head = '# HELP a_total A.\n# TYPE a_total counter\n'
  it.each([
    ['a sample without a type', 'a_total 1\n'],
    ['no end of line', `${head}a_total 1`],
    ['a value that is none', `${head}a_total one\n`],
    ['the same sample twice', `${head}a_total 1\na_total 2\n`],
    ['labels that are none', `${head}a_total{x=1} 1\n`],
    ['a counter by another name', '# HELP a A.\n# TYPE a counter\na 1\n'],
    ['a duration without its unit', '# HELP a_duration A.\n# TYPE a_duration gauge\na_duration 1\n'],
  ])('refuses %s', (_what, text) => {
    expect(() => readExposition(text)).toThrow()
  })
})
