import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { scenario } from '../support/scenario.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { testHsm } from '../support/world.ts'

scenario('D1: leaf keys live in an HSM, and the certificate is kept with them', (createAzure) => {
  it('makes keys that the token calls sensitive and never extractable, and keeps the certificate beside them', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-d1')
    const agent = await azure.startAgent(registrationId, await azure.enrolling(registrationId))
    await agent.connected()
    await agent.roll()

    const { active, generations } = agent.status()
    expect(active?.generation).toBe(2)
    expect(generations).toEqual([1, 2])
    for (const { keyId } of agent.state.generations) {
      const objects = testHsm().objects(keyId ?? '')
      const privateKey = objects.find((object) => object.startsWith('Private Key Object'))
      expect(privateKey).toMatch(/Access: +sensitive, always sensitive, never extractable, local/)
      expect(objects.filter((object) => object.startsWith('Certificate Object'))).toHaveLength(1)
    }
  })

  it('writes no private key anywhere but inside the token', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-d1b')
    const stateFolder = await temporaryFolder()
    const pipeline = await azure.enrolling(registrationId)
    const agent = await azure.startAgent(registrationId, pipeline, { stateFolder })
    await agent.connected()
    await agent.roll()
    await agent.stop()

    const files = filesBelow(stateFolder)
    expect(files.length).toBeGreaterThan(0)
    for (const file of files) {
      const text = readFileSync(file, 'latin1')
      expect(text).toContain('CERTIFICATE')
      expect(text).not.toMatch(/PRIVATE KEY/)
      expect(text).not.toContain(testHsm().pin.reveal())
      expect(statSync(file).mode & 0o077).toBe(0)
    }
  })
})

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
}
