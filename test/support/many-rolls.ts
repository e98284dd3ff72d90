import { readdirSync } from 'node:fs'
import { functionIssuer } from 'leafkeeper'
import { memoryInUse, type MemoryUse } from './memory.ts'
import { Pkcs11Shim, withoutShim } from './pkcs11-shim.ts'
import { temporaryFolder } from './temporary-folder.ts'
import { twinSays } from './twin.ts'
import { createWorld, next } from './world.ts'

/** What the process and the token hold after so many rolls. */
export interface Holding extends MemoryUse {
  readonly rolls: number
  /** Sessions opened and not closed, OpenSSL's own among them; `null` where there is no C compiler to see them with. */
  readonly sessions: number | null
  /** Objects on the token: both halves of each key, and certificates. */
  readonly objects: number
  readonly generations: number
  /** Sockets and timers of the process. */
  readonly resources: number
}

/**
 * Rolls a real agent with its key in SoftHSM again and again, against the simulator, each time until the old key has
 * left the token; telemetry flows meanwhile. Tells what is held after every so many rolls.
 *
 * The simulator is in the same process, and remembers for ever each registration and each message. Devices come in
 * through an enrollment group, so that this is all it adds.
 */
export async function rollAgainAndAgain(rolls: number, sampleEvery: number): Promise<Holding[]> {
  const world = await createWorld()
  const { root, cloud, hsm } = world
  const shim = withoutShim ? undefined : new Pkcs11Shim(hsm.folder)
  cloud.dps.groups.put({ enrollmentGroupId: 'factory', attestation: { primary: root.certificate } })
  const { token } = world.agentOptions('device-endures')
  let sessions = 0
  shim?.observe()
  const agent = await world.startAgent('device-endures', {
    token: { ...token, module: shim?.module ?? token.module },
    issuer: functionIssuer('root', async ({ csr }) => (await root.issueLeaf({ csr })).chain),
    policy: { overlapMs: 0 },
    stateFolder: await temporaryFolder(),
  })
  await agent.connected()

  const holdings: Holding[] = []
  for (let roll = 1; roll <= rolls; roll += 1) {
    const retired = next(agent, 'retired')
    const sent = agent.send({ body: `message ${roll}` })
    const { newThumbprint } = await agent.roll()
    await Promise.all([retired, sent])
    if (agent.status().active?.thumbprint !== newThumbprint) throw new Error(`Roll ${roll} came to nothing.`)
    if (roll % sampleEvery > 0) continue
    // The last report to the twin has its answer before the message behind it has one.
    await twinSays(world, agent, { roll: { phase: 'idle' }, certificate: { thumbprint: newThumbprint } })
    await agent.send({ body: `message behind roll ${roll}` })
    for (const name of shim?.calls() ?? []) {
      if (name === 'C_OpenSession') sessions += 1
      if (name === 'C_CloseSession') sessions -= 1
    }
    shim?.observe()
    holdings.push({
      rolls: roll,
      sessions: shim === undefined ? null : sessions,
      objects: objectFiles(hsm.folder),
      generations: agent.status().generations.length,
      resources: process.getActiveResourcesInfo().length,
      ...(await memoryInUse()),
    })
  }
  return holdings
}

/** SoftHSM keeps each object in a file of its own. */
function objectFiles(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.object'))
    .length
}
