import { cp, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { configure, DeviceAgent, jsonLogger, loadConfiguration, type DeviceAgentOptions } from 'leafkeeper'
import { TestAuthority } from 'leafkeeper-sim'
import { readConfiguration } from '../../src/config/load-configuration.ts'
import type { Configuration } from '../../src/config/configuration.ts'
import { createGateway } from '../support/gateway.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createWorld, hubThumbprint } from '../support/world.ts'

const golden = (name: string): string => join(import.meta.dirname, name)
const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/** The golden files beside the files that they name. */
async function goldenFolder(): Promise<string> {
  const folder = await temporaryFolder()
  const { certificate } = await TestAuthority.createRoot({ commonName: 'network' })
  await writeFile(join(folder, 'authorities.pem'), certificate)
  for (const name of ['full.yaml', 'full.toml', 'issuers.yaml', 'others.yaml', 'minimal.json'])
    await cp(golden(name), join(folder, name))
  return folder
}

describe('a configuration file', () => {
  it('needs little', async () => {
    expect(await readConfiguration(golden('minimal.json'))).toEqual({
      registrationId: 'gateway-7',
      stateFolder: '/var/lib/leafkeeper',
      hsm: { module: 'softhsm', pin: { credential: 'pin' } },
      provisioning: { idScope: '0ne00000A0A' },
    })
  })

  it.each(['full.yaml', 'full.toml'])('is read as it is meant: %s', async (name) => {
    expect(await readConfiguration(golden(name))).toEqual({
      registrationId: 'gateway-7',
      stateFolder: golden('state'),
      agentName: 'gateway',
      keyType: 'EC-P384',
      hsm: {
        module: golden('modules/pkcs11.so'),
        profile: 'softhsm',
        environment: { SOFTHSM2_CONF: '/etc/leafkeeper/softhsm2.conf' },
        token: { label: 'gateway', serial: '0123', uri: 'pkcs11:token=gateway' },
        pin: { file: golden('pin') },
        maxSessions: 4,
        engine: golden('engines/pkcs11.so'),
      },
      adopt: { key: 'pkcs11:object=device-key', certificate: { file: golden('device.pem') } },
      provisioning: {
        idScope: '0ne00000A0A',
        host: 'dps.example:8884',
        onboarding: { symmetricKey: { env: 'ONBOARDING_KEY' } },
        pollingInterval: 5_000,
        registrationTimeout: minute,
      },
      hub: { productInfo: 'gateway/1.0' },
      network: {
        trustedAuthorities: { file: golden('authorities.pem') },
        connectTo: { '*.azure-devices.net': 'localhost:43121' },
        connectTimeout: 10_000,
        answerTimeout: 15_000,
      },
      issuer: {
        bootstrap: { kind: 'dps' },
        roll: {
          kind: 'command',
          program: golden('issue.sh'),
          arguments: ['--profile', 'device'],
          workingFolder: golden('work'),
          environment: { AUTHORITY: 'ours' },
          timeout: 90_000,
          retryAfter: 5 * minute,
        },
      },
      policy: {
        schedule: { before: '30d', jitter: '36h' },
        overlap: 2 * day,
        retry: { base: 2_000, cap: 10 * minute, spread: 0.6 },
        busy: { base: 3 * minute, cap: hour, spread: 0.7 },
        refusal: { base: 4 * minute, cap: 2 * hour, spread: 0.8 },
        lost: { base: 5_000, cap: 6 * minute, spread: 0.9 },
        debounce: { base: 20_000, cap: hour, spread: 1 },
        longestRetryAfter: 12 * hour,
        emergency: { lifetimeShare: 0.125, window: 3 * day, longestWait: 2 * minute },
        stableAfter: 2 * minute,
        switchGrace: 5_000,
        askDpsAfterAttempts: 7,
      },
      outbox: { capacity: 500, maxBytes: 1_048_576, window: 16 },
      twin: false,
      log: { level: 'debug' },
      metrics: { port: 9464, file: golden('metrics/leafkeeper.prom'), interval: 30_000 },
    })
  })
})

describe('the options of an agent', () => {
  /** Every option has a member, or is something that only code can give. */
  const covered: Record<keyof DeviceAgentOptions, 'file' | 'code'> = {
    registrationId: 'file',
    token: 'file',
    agentName: 'file',
    adopt: 'file',
    keyType: 'file',
    provisioning: 'file',
    assignment: 'file',
    hub: 'file',
    issuer: 'file',
    stateFolder: 'file',
    policy: 'file',
    outbox: 'file',
    twin: 'file',
    logger: 'file',
    metrics: 'file',
    methods: 'code',
    clock: 'code',
    random: 'code',
  }
  const ofFiles = Object.keys(covered).filter((name) => covered[name as keyof DeviceAgentOptions] === 'file')

  it('all come from files, but for those that only code can give', async () => {
    const folder = await goldenFolder()
    const set = new Set<string>()
    for (const name of ['full.yaml', 'issuers.yaml'])
      for (const option of Object.keys(await loadConfiguration(join(folder, name)))) set.add(option)
    expect([...set].sort()).toEqual([...ofFiles, 'configuration'].sort())
  })

  it('have the values of the file', async () => {
    const folder = await goldenFolder()
    const options = await loadConfiguration(join(folder, 'full.yaml'))
    expect(options).toMatchObject({
      registrationId: 'gateway-7',
      agentName: 'gateway',
      keyType: 'EC-P384',
      stateFolder: join(folder, 'state'),
      token: {
        module: join(folder, 'modules/pkcs11.so'),
        profile: { name: 'softhsm' },
        environment: { SOFTHSM2_CONF: '/etc/leafkeeper/softhsm2.conf' },
        token: { label: 'gateway', serial: '0123', uri: 'pkcs11:token=gateway' },
        pin: { file: join(folder, 'pin') },
        maxSessions: 4,
        engine: join(folder, 'engines/pkcs11.so'),
      },
      adopt: { key: 'pkcs11:object=device-key', certificate: { file: join(folder, 'device.pem') } },
      policy: {
        schedule: { before: '30d', jitter: '36h' },
        overlapMs: 2 * day,
        retry: { baseMs: 2_000, capMs: 10 * minute, spread: 0.6 },
        busy: { baseMs: 3 * minute, capMs: hour, spread: 0.7 },
        refusal: { baseMs: 4 * minute, capMs: 2 * hour, spread: 0.8 },
        lost: { baseMs: 5_000, capMs: 6 * minute, spread: 0.9 },
        debounce: { baseMs: 20_000, capMs: hour, spread: 1 },
        longestRetryAfterMs: 12 * hour,
        emergency: { lifetimeShare: 0.125, windowMs: 3 * day, longestWaitMs: 2 * minute },
        stableAfterMs: 2 * minute,
        switchGraceMs: 5_000,
        askDpsAfterAttempts: 7,
      },
      outbox: { capacity: 500, maxBytes: 1_048_576, window: 16 },
      twin: false,
      issuer: { name: `DPS dps.example:8884, then command ${join(folder, 'issue.sh')}` },
    })
    expect(options.assignment).toBeUndefined()
  })

  it('name the hub of a device that does not use DPS', async () => {
    const { assignment, provisioning } = await loadConfiguration(join(await goldenFolder(), 'issuers.yaml'))
    expect(assignment).toEqual({ hub: 'hub-a.azure-devices.net', deviceId: 'gateway-seven' })
    expect(provisioning).toBeUndefined()
  })

  it.each([
    ['issuers.yaml', 'EST est.example:8443, then IoT Hub', '2025-08-01-preview'],
    ['others.yaml', 'EST est.example, then folder FOLDER/exchange', undefined],
  ])('have the issuers of %s', async (name, issuers, hubApiVersion) => {
    const folder = await goldenFolder()
    const { issuer } = await loadConfiguration(join(folder, name))
    expect(issuer?.name).toBe(issuers.replace('FOLDER', folder))
    expect(issuer?.hubApiVersion).toBe(hubApiVersion)
  })

  it('let a part of a schedule keep its default', async () => {
    const { policy } = await configure({
      ...minimal(),
      policy: { lost: { cap: '10m' }, emergency: { window: '1d' } },
    })
    expect(policy).toEqual({
      lost: { baseMs: 5_000, capMs: 10 * minute, spread: 1 },
      emergency: { lifetimeShare: 0.1, windowMs: day, longestWaitMs: 5 * minute },
    })
  })

  it('log at the level that is wanted', async () => {
    const written: string[] = []
    const write = vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
      written.push(String(text))
      return true
    })
    onTestFinished(() => write.mockRestore())
    const { logger } = await configure({ ...minimal(), log: { level: 'warn' } })
    logger?.info({}, 'not wanted')
    logger?.warn({}, 'wanted')
    expect(written.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['wanted'])
  })
})

const minimal = (): Configuration => ({
  registrationId: 'gateway-7',
  stateFolder: 'state',
  hsm: { module: 'softhsm', pin: { env: 'TOKEN_PIN' } },
  provisioning: { idScope: '0ne00000A0A' },
})

describe('an agent that is started from a file', () => {
  it('gets its first certificate from a program, and connects', async () => {
    const world = await createWorld()
    const gateway = await createGateway(world, 'gateway-7')
    const agent = await DeviceAgent.start({ ...(await loadConfiguration(gateway.file)), logger: quiet })
    onTestFinished(() => agent.stop())
    await agent.connected()
    expect(hubThumbprint(world.cloud, agent)).toBe(agent.status().active?.thumbprint)
    expect(await readdir(join(gateway.folder, 'state'))).toContain('journal')
  })
})

const quiet = jsonLogger({ write: () => undefined })
