/**
 * A device as a process of its own, for tests that end it: the real agent on SoftHSM, under the orders of a test. It
 * says when it is settled, rolls when it is told to, and does itself harm where it is told to.
 */
import { writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import pkcs11, { type PKCS11 } from 'pkcs11js'
import { DeviceAgent } from '../../src/agent/agent.ts'
import type { PolicyOptions } from '../../src/agent/policy.ts'
import { functionIssuer } from '../../src/issuer/function-issuer.ts'
import { hubOverMqtt } from '../../src/hub/hub-over-mqtt.ts'
import { dpsOverMqtt } from '../../src/provisioning/dps-over-mqtt.ts'
import {
  pinVariable,
  setUpVariable,
  type Audit,
  type DeviceSetUp,
  type Order,
  type Word,
} from './conversation.ts'
import { Points } from './points.ts'
import { watchFiles } from './watch-files.ts'
import { watchNetwork } from './watch-network.ts'

const setUp = JSON.parse(process.env[setUpVariable] ?? '') as DeviceSetUp
const { registrationId, folder, module } = setUp

/** At once and whole: what was said counts even when the next instruction ends the process. */
function say(word: Word): void {
  writeSync(1, `${JSON.stringify(word)}\n`)
}

const quick = { baseMs: 20, capMs: 200 }
const policy: PolicyOptions = {
  ...{ retry: quick, busy: quick, refusal: quick, lost: quick, debounce: quick },
  // The old key leaves within the roll, so that its end is part of what is interrupted.
  overlapMs: 0,
}

const points = new Points(setUp.rules, () => {
  // The connection stays up meanwhile, which a message proves.
  void sendMessage().then(() => points.makeRoom())
})
if (setUp.watchStart === null) points.disarm()
else points.arm(setUp.watchStart)
watchFiles(folder, points)
watchNetwork(points)

const certificates = new Map<number, (chain: string) => void>()
const network = { trustedAuthorities: setUp.trustedAuthorities, connectTo: setUp.connectTo }
const agent = await DeviceAgent.start({
  registrationId,
  token: { module, token: { label: setUp.tokenLabel }, pin: { env: pinVariable } },
  provisioning: dpsOverMqtt({ ...network, provisioningHost: setUp.provisioningHost, idScope: setUp.idScope }),
  hub: hubOverMqtt(network),
  issuer: functionIssuer('the test', async ({ csr }) => {
    const number = certificates.size + 1
    const answer = new Promise<string>((resolve) => certificates.set(number, resolve))
    const request = points.enter('issuer request')
    say({ kind: 'certificateWanted', number, csr })
    points.leave('issuer request', request)
    const chain = await answer
    points.leave('issuer answer', points.enter('issuer answer'))
    return chain
  }),
  stateFolder: `${folder}/state`,
  policy,
})

let messages = 0
const unacknowledged = new Set<Promise<void>>()
async function sendMessage(): Promise<void> {
  messages += 1
  const body = `${registrationId} ${process.pid} ${messages}`
  const sent = agent.send({ body })
  unacknowledged.add(sent)
  await sent
  unacknowledged.delete(sent)
  say({ kind: 'acknowledged', body })
}

agent.on('problem', ({ error, during }) => say({ kind: 'problem', text: `${during}: ${error.message}` }))
agent.on('rollFailed', ({ error }) => say({ kind: 'rollFailed', text: error.message }))
agent.on('transition', () => {
  // One message for each move, so that every run of the same roll sends the same.
  if (agent.state.running) void sendMessage()
})

function isSettled(): boolean {
  const { connection, roll, generations, destruction } = agent.state
  return (
    connection.phase === 'connected' &&
    roll.phase === 'idle' &&
    generations.length === 1 &&
    destruction === null
  )
}

async function settled(): Promise<void> {
  while (!isSettled())
    await new Promise<void>((resolve) => {
      agent.once('transition', () => setImmediate(resolve))
      agent.once('retired', () => setImmediate(resolve))
    })
}

/** Looks at the token as any other program would. */
function countObjects(): Audit['objects'] {
  const api = new pkcs11.PKCS11()
  api.load(module)
  const slot = api
    .C_GetSlotList(true)
    .find((each) => api.C_GetTokenInfo(each).label.trim() === setUp.tokenLabel)
  if (slot === undefined) throw new Error(`There is no token ${setUp.tokenLabel}.`)
  const session = api.C_OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
  const count = (kind: number): number => countClass(api, session, kind)
  const objects = {
    private: count(pkcs11.CKO_PRIVATE_KEY),
    public: count(pkcs11.CKO_PUBLIC_KEY),
    certificate: count(pkcs11.CKO_CERTIFICATE),
  }
  api.C_CloseSession(session)
  return objects
}

function countClass(api: PKCS11, session: Buffer, kind: number): number {
  api.C_FindObjectsInit(session, [{ type: pkcs11.CKA_CLASS, value: kind }])
  const found = api.C_FindObjects(session, 1_000)
  api.C_FindObjectsFinal(session)
  return found.length
}

async function report(): Promise<void> {
  await settled()
  await Promise.all(unacknowledged)
  points.disarm()
  // The connection that the state tells of does work.
  await sendMessage()
  const { active, assignment } = agent.status()
  say({
    kind: 'settled',
    harmed: points.harmed,
    audit: {
      thumbprint: active?.thumbprint ?? 'none',
      hub: assignment?.hub ?? 'none',
      objects: countObjects(),
    },
  })
}

async function obey(order: Order): Promise<void> {
  switch (order.kind) {
    case 'certificate':
      certificates.get(order.number)?.(order.chain)
      return
    case 'roll':
      points.arm(order.watch)
      await agent.roll({ mode: order.mode })
      await report()
      return
    case 'stop':
      await agent.stop()
      process.exit(0)
  }
}

createInterface({ input: process.stdin }).on('line', (line) => void obey(JSON.parse(line) as Order))
await report()
