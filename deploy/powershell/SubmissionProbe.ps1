<#
.SYNOPSIS
Functions with the parameters and the output of Test-PopConnectivity and Test-ImapConnectivity, on top of `probe -o json`.

.DESCRIPTION
Dot-source this file (. .\SubmissionProbe.ps1), on Windows PowerShell 5.1 or PowerShell 7, where `probe` is in the PATH.

    $credential = Get-Credential probe@contoso.com
    Test-ProbeImapConnectivity -ClientAccessServer mail.contoso.com -MailboxCredential $credential
    'ex01.contoso.com', 'ex02.contoso.com' | Test-ProbePopConnectivity -MailboxCredential $credential -ConnectionType Tls
    Test-ProbeSubmission -ClientAccessServer mail.contoso.com -MailboxCredential $credential | Format-List *

The password goes to `probe` in an environment variable of this process, which is removed when the call is over: never on a command line.
A test sends one marked message and deletes that one message; nothing else in the mailbox is touched. See docs/exchange.md.
#>

function Invoke-SubmissionProbe {
    <#
    .SYNOPSIS
    Runs `probe run` and returns its report: verdict, stages, findings with cause and remedy, transcript.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true)] [string[]] $Arguments,
        [System.Management.Automation.PSCredential] $Credential
    )
    $variable = 'SUBMISSION_PROBE_PASSWORD_' + [guid]::NewGuid().ToString('N')
    $line = @('run') + $Arguments + @('-o', 'json')
    if ($Credential) {
        $line += @('--user', $Credential.UserName, '--password-env', $variable)
        [Environment]::SetEnvironmentVariable($variable, $Credential.GetNetworkCredential().Password)
    }
    try {
        $text = (& probe @line) -join "`n"
    }
    finally {
        [Environment]::SetEnvironmentVariable($variable, $null)
    }
    if (-not $text) {
        throw "probe gave no report (exit status $LASTEXITCODE); its error stands above"
    }
    $text | ConvertFrom-Json
}

function Invoke-ProbeTest {
    # What the three tests share: the cmdlets' parameters in probe's words, and the rows of one protocol.
    param([hashtable] $Given, [string] $Protocol, [string[]] $Scenario)

    if ($Given.ResetTestAccountCredentials) {
        Write-Warning 'ResetTestAccountCredentials has no counterpart: probe never changes an account. Use Set-ADAccountPassword.'
    }
    $security = @{ Plaintext = 'plaintext'; Ssl = 'tls'; Tls = 'starttls' }[[string] $Given.ConnectionType]
    $file = Join-Path ([System.IO.Path]::GetTempPath()) ('probe-' + [guid]::NewGuid().ToString('N') + '.json')
    $line = @($Given.ProbeProfile, '--host', $Given.ClientAccessServer, '--report', "exchange=$file")
    $line += @('--timeout', "$($Given.Timeout)s", '--set', "limits.per_connection=$($Given.PerConnectionTimeout)s")
    if ($Protocol -eq 'smtp') {
        $line += @('--readback', 'none')
        if ($security) { $line += @('--security', $security) }
        if ($Given.PortClientAccessServer) { $line += @('--port', $Given.PortClientAccessServer) }
    }
    else {
        $line += @('--readback', $Protocol)
        if ($security) { $line += @('--set', "readback.$Protocol.security=$security") }
        if ($Given.PortClientAccessServer) { $line += @('--set', "readback.$Protocol.port=$($Given.PortClientAccessServer)") }
    }
    if ($Given.TrustAnySSLCertificate) { $line += '--trust-any-certificate' }
    if ($Given.LightMode) { $line += '--light' }
    try {
        $run = Invoke-SubmissionProbe -Arguments $line -Credential $Given.MailboxCredential
        $rows = (Get-Content -Raw -Encoding UTF8 -LiteralPath $file | ConvertFrom-Json).results
    }
    finally {
        Remove-Item -LiteralPath $file -ErrorAction SilentlyContinue
    }
    foreach ($row in $rows) {
        # A failed submission is shown too: without a message the reader has nothing to find.
        if ($Scenario -notcontains $row.Scenario -and $row.Result -ne 'Failure') { continue }
        Add-Member -InputObject $row -NotePropertyName CasServer -NotePropertyValue $row.ClientAccessServer
        Add-Member -InputObject $row -NotePropertyName 'Latency(MS)' -NotePropertyValue $row.LatencyInMillisecondsString
        Add-Member -InputObject $row -NotePropertyName Findings -NotePropertyValue @($run.reports | ForEach-Object { $_.findings })
        $columns = [string[]] @('CasServer', 'LocalSite', 'Scenario', 'Result', 'Latency(MS)', 'Error')
        $shown = New-Object System.Management.Automation.PSPropertySet('DefaultDisplayPropertySet', $columns)
        $members = [System.Management.Automation.PSMemberInfo[]] @($shown)
        Add-Member -InputObject $row -MemberType MemberSet -Name PSStandardMembers -Value $members
        if ($Given.MonitoringContext) {
            foreach ($item in $row.Events) { Write-Verbose "$($item.Severity) $($item.Id): $($item.Message)" -Verbose }
        }
        $row
    }
}

function Test-ProbeImapConnectivity {
    <#
    .SYNOPSIS
    Test-ImapConnectivity's parameters and columns, for any server: submits one message and reads it back over IMAP4.
    .EXAMPLE
    Test-ProbeImapConnectivity -ClientAccessServer mail.contoso.com -MailboxCredential (Get-Credential) -LightMode
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true, Position = 0, ValueFromPipeline = $true)] [string] $ClientAccessServer,
        [Parameter(Mandatory = $true)] [System.Management.Automation.PSCredential] $MailboxCredential,
        [ValidateSet('Plaintext', 'Ssl', 'Tls')] [string] $ConnectionType = 'Ssl',
        [ValidateRange(0, 65535)] [int] $PortClientAccessServer = 0,
        [switch] $TrustAnySSLCertificate,
        [switch] $LightMode,
        [ValidateRange(0, 120)] [int] $PerConnectionTimeout = 120,
        [ValidateRange(0, 3600)] [int] $Timeout = 180,
        [switch] $MonitoringContext,
        [switch] $ResetTestAccountCredentials,
        [string] $ProbeProfile = 'exchange-2016'
    )
    process {
        $given = @{}
        foreach ($name in $MyInvocation.MyCommand.Parameters.Keys) {
            $given[$name] = Get-Variable -Name $name -ValueOnly -ErrorAction SilentlyContinue
        }
        Invoke-ProbeTest -Given $given -Protocol 'imap' -Scenario 'Test IMAP4 Connectivity'
    }
}

function Test-ProbePopConnectivity {
    <#
    .SYNOPSIS
    Test-PopConnectivity's parameters and columns, for any server: submits one message and reads it back over POP3.
    .EXAMPLE
    'ex01', 'ex02' | Test-ProbePopConnectivity -MailboxCredential $credential | Export-Csv pop.csv -NoTypeInformation
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true, Position = 0, ValueFromPipeline = $true)] [string] $ClientAccessServer,
        [Parameter(Mandatory = $true)] [System.Management.Automation.PSCredential] $MailboxCredential,
        [ValidateSet('Plaintext', 'Ssl', 'Tls')] [string] $ConnectionType = 'Ssl',
        [ValidateRange(0, 65535)] [int] $PortClientAccessServer = 0,
        [switch] $TrustAnySSLCertificate,
        [switch] $LightMode,
        [ValidateRange(0, 120)] [int] $PerConnectionTimeout = 120,
        [ValidateRange(0, 3600)] [int] $Timeout = 180,
        [switch] $MonitoringContext,
        [switch] $ResetTestAccountCredentials,
        [string] $ProbeProfile = 'exchange-2016'
    )
    process {
        $given = @{}
        foreach ($name in $MyInvocation.MyCommand.Parameters.Keys) {
            $given[$name] = Get-Variable -Name $name -ValueOnly -ErrorAction SilentlyContinue
        }
        Invoke-ProbeTest -Given $given -Protocol 'pop3' -Scenario 'Test POP3 Connectivity'
    }
}

function Test-ProbeSubmission {
    <#
    .SYNOPSIS
    The submission alone, with the same parameters and columns: connect, STARTTLS, certificate, logon, message.
    .EXAMPLE
    Test-ProbeSubmission mail.contoso.com -MailboxCredential $credential | ForEach-Object { $_.Findings } | Format-List
    #>
    [CmdletBinding()]
    param(
        [Parameter(Mandatory = $true, Position = 0, ValueFromPipeline = $true)] [string] $ClientAccessServer,
        [Parameter(Mandatory = $true)] [System.Management.Automation.PSCredential] $MailboxCredential,
        [ValidateSet('Plaintext', 'Ssl', 'Tls')] [string] $ConnectionType = 'Tls',
        [ValidateRange(0, 65535)] [int] $PortClientAccessServer = 0,
        [switch] $TrustAnySSLCertificate,
        [switch] $LightMode,
        [ValidateRange(0, 120)] [int] $PerConnectionTimeout = 120,
        [ValidateRange(0, 3600)] [int] $Timeout = 180,
        [switch] $MonitoringContext,
        [switch] $ResetTestAccountCredentials,
        [string] $ProbeProfile = 'exchange-2016'
    )
    process {
        $given = @{}
        foreach ($name in $MyInvocation.MyCommand.Parameters.Keys) {
            $given[$name] = Get-Variable -Name $name -ValueOnly -ErrorAction SilentlyContinue
        }
        Invoke-ProbeTest -Given $given -Protocol 'smtp' -Scenario 'Test SMTP Submission'
    }
}
