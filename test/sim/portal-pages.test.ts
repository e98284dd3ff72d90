import { generateKeyFile, TestAuthority } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { openPortal, Visitor } from './portal-visitor.ts'

/** As far as the rules for device ids and method names let it go: quotes and brackets of markup are not in them. */
const hostileId = `'=x;!--(alert)#%2e$@`
const hostileText = `"><img src=x onerror=alert(1)>'</script>`

describe('what others have named', () => {
  it('is shown and not carried out', async () => {
    const { cloud, portal } = await openPortal()
    const root = await TestAuthority.createRoot({ commonName: hostileText })
    const { publicKey } = await generateKeyFile()
    const leaf = await root.issueLeaf({ publicKey, commonName: hostileText })
    cloud.dps.groups.put({ enrollmentGroupId: 'group-1', attestation: { primary: root.certificate } })
    cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: leaf.certificate } })
    const hub = cloud.hub('hub-a')
    hub.registry.create({ deviceId: hostileId, authentication: { type: 'sas' } })
    await hub
      .invokeMethod(hostileId, { methodName: hostileText.replaceAll(/[\s/]/g, '') })
      .catch(() => undefined)
    cloud.events.emit('connectRefused', {
      hub: hostileText,
      deviceId: hostileId,
      code: 5,
      errorCode: 401003,
      reason: hostileText,
    })
    const visitor = await Visitor.enter(portal)
    const pages = ['/', '/enrollments', '/certificates', '/devices', '/registrations', '/jobs']
    const details = [
      '/enrollments/individual/device-1',
      '/enrollments/group/group-1',
      `/devices/${encodeURIComponent(hostileId)}`,
    ]
    for (const path of [...pages, ...details]) {
      const { status, text } = await visitor.see(path)
      expect([path, status]).toEqual([path, 200])
      expect(text).not.toContain('<img')
      expect(text).not.toMatch(/=x;!--\(alert\)#%2e\$@[^<]*'/)
    }
    const { text } = await visitor.see(`/devices/${encodeURIComponent(hostileId)}`)
    expect(text).toContain('&quot;&gt;&lt;img src=x onerror=alert(1)&gt;&#39;&lt;/script&gt;')
    expect(text).toContain('&#39;=x;!--(alert)#%2e$@')
    expect(text).toContain(`data-live="/devices/${encodeURIComponent(hostileId).replaceAll("'", '&#39;')}"`)
  })

  it('is escaped where there is nothing of that name', async () => {
    const { portal } = await openPortal()
    const visitor = await Visitor.enter(portal)
    for (const path of ['/devices/', '/enrollments/individual/', '/enrollments/group/']) {
      const { status, text } = await visitor.see(`${path}${encodeURIComponent(hostileText)}`)
      expect(status).toBe(404)
      expect(text).toContain('&lt;img src=x onerror=alert(1)&gt;')
      expect(text).not.toContain('<img')
    }
  })
})
